"""What studies that compare trained networks share: differences of errors, and controls of blocks and gates."""
