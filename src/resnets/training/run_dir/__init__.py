"""The run directory: its files, its lock, its state file, and the signals that end a run."""
