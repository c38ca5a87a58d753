"""From image files to tensors: decoding, datasets, splits, the data check and loading."""
