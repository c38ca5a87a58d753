"""Files of other programs as tensors. Nothing in a file is run."""
