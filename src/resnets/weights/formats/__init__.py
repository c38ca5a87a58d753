"""Formats of other libraries: names of tensors, and writing of files."""
