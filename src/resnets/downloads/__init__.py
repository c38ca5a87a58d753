"""Files over HTTP, downloaded once into the cache directory and compared with their hash."""
