"""Studies that compare variants of one network, trained alike, and what they share: differences and controls."""
