"""Segmenters on any network of the zoo: seven decoders that give each pixel its class."""
