"""Validation during a run, the choice of the best checkpoint, and the evaluation at the end."""
