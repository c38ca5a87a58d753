"""Files that predictions are written to."""
