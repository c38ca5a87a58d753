"""Recipes: the type `Recipe`, and one named recipe per file, whose docstring has its command."""
