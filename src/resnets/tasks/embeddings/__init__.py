"""Vectors of images by a trained model: computed, stored with their origin, and searched."""
