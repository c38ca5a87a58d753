"""How well objects are found, from the records of the images."""
