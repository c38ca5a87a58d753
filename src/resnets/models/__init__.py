"""The networks. This room imports torch and nothing else of the package but its errors."""
