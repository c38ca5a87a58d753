"""Weights of segmenters: checkpoints, files of torchvision and segmentation_models_pytorch, and their verification."""
