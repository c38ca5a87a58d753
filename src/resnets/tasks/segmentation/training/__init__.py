"""What a training of a segmentation learns from: masks, their augmentation, losses and weights of the classes."""
