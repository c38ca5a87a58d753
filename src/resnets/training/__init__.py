"""Training: the recipe as a value, the one loop, and what belongs to a run."""
