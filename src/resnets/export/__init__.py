"""Write models for other runtimes, and prove that they compute the same."""
