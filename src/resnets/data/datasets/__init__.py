"""Labeled images: class folders, manifests, shards and the built-in sets."""
