"""Images with objects: boxes, masks and classes in the formats of annotation tools."""
