"""A trained network made fast on this machine: batch norms folded, a backend chosen by a rule."""
