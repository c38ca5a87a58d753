"""Published and bundled weights: catalog, download, names."""
