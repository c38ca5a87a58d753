"""Which images a command works on, and their batches."""
