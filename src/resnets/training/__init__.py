"""Training: setting up a run, the training loop, evaluation, the run directory, resuming, and distributed training."""
