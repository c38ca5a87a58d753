"""Tensors in and out: our own file, and the maps to those of others."""
