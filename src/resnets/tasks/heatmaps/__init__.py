"""Heat maps: where in an image a classifier finds what raises the logit of a class."""
