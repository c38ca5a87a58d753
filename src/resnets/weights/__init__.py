"""Weights: checkpoint files, published weights, and conversion from and to other libraries."""
