"""Faster R-CNN and Mask R-CNN: parts of torchvision around any network of the zoo."""
