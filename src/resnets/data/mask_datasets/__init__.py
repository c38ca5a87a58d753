"""Images with a class for each pixel: what they are, the formats that are read, and what can be wrong with them."""
