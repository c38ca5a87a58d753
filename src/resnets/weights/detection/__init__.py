"""Weights of detectors: files of torchvision and darknet, and detectors by name."""
