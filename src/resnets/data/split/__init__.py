"""The split into train, val and test, and which images weights have learned from."""
