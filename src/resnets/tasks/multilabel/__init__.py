"""Multi-label classification: each image has any number of labels, also none."""
