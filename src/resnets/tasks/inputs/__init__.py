"""The images that a command was given, and their batches."""
