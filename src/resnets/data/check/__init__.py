"""The data check: what is wrong with a dataset, found before training."""
