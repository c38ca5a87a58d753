"""Images on their way into a training: order, augmentation, cache, worker processes."""
