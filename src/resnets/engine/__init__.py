"""A trained network made fast on the machine at hand: folded, compiled, chosen by a measurement."""
