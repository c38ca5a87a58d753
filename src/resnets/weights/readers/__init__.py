"""Read weights files of other programs without executing code from them."""
