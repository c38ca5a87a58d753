"""Prediction of objects from several views of an image, and by several detectors."""
