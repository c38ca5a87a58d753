"""The split into train, val and test, and which images weights were trained on."""
