"""Prove that an exported file computes what its checkpoint does."""
