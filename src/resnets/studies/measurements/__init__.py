"""What studies measure on networks, and the changed networks that they measure."""
