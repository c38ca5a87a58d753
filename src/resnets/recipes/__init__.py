"""Recipes: one run per file; the docstring gives the command, the cost and the result."""
