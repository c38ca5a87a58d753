"""Decoders: from the feature maps of a backbone to one map, from which a head predicts the classes.

A decoder has the attributes `channels` and `stride` of its map. It is called with the maps in the order of their strides, the
least first, and with the height and width of the image.
"""
