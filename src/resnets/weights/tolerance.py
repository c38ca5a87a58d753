"""Bounds of a verification. This module does not import torch, so that `--help` can show the default."""

TOLERANCE = 1e-2  # of a probability, if two libraries prepare an image: transformers' resize rounds to one level in 256
EXACT = 1e-4  # of a logit relative to the largest, if both networks have the same input tensors, in float32
