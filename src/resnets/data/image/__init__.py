"""One image: its format, its decoding, its colors, and the preprocessing that makes it the input of a network."""
