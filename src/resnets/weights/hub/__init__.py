"""Published weights: the catalog, the download, and the weights in the package."""
