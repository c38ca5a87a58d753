"""Fast inference: batch norms folded, a backend chosen by a rule, and a benchmark of the backends."""
