"""The metrics of a segmentation, from the confusion matrix of each image."""
