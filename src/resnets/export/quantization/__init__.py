"""Classifiers in int8, and the proof of what that loses."""
