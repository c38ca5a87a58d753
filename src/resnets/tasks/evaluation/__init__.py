"""Evaluate models on labeled images: which images, the results, what to know before them, and their files."""
