"""The figures and the page of a segmentation run."""
