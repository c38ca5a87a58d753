"""The formats of other libraries: names of tensors and settings, in both directions."""
