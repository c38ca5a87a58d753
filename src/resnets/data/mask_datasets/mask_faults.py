"""The kinds of faults in the masks of a dataset, and what is done about each."""

from __future__ import annotations

MANY_UNLABELED = 0.5  # of an image
SPECK_PIXELS = 10  # a smaller region
CROP_SIDE = 256  # pixels of the crop for which the classes are counted

_SAY = "say what the values mean, such as `task.mask_values=0=background,1=person,255=ignore`"
# What is done about each kind of fault. Those of `ERRORS` are refused.
ERRORS = {
    "no-mask": "with `on_bad=skip`, the image is left out",
    "no-image": "with `on_bad=skip`, the mask is left out",
    "bad-mask-file": "with `on_bad=skip`, the image is left out",
    "mask-size": "with `on_bad=skip`, the image is left out",
    "unknown-values": f"{_SAY}; with `on_bad=skip`, these pixels are ignored",
    "only-0-and-255": _SAY,
    "antialiased-edges": f"{_SAY}, and give `task.mask_value_tolerance`, the largest difference from these values",
    "colors": "name them in a file classes.csv with the columns name, r, g and b, or in `task.mask_values=#804080=road,...`",
    "no-outline": "with `on_bad=skip`, the box of the object is ignored",
}
QUESTIONS = ("only-0-and-255", "antialiased-edges", "colors")  # which only the user can answer
WARNINGS = {
    "foreground-value": "0 is taken as the background and the other value as the foreground",
    "mostly-unlabeled": "these pixels are ignored",
    "empty-mask": "nothing is learned from the image",
    "missing-class": "the class is not learned, or not evaluated",
    "label-ids": "each value is taken as a class; name the classes of Cityscapes with `task.mask_values`, or use its folders",
    "values-from-one": f"each value that occurs is taken as a class; if 0 is a class or is ignored, {_SAY}",
    "small-regions": "they are learned as they are",
    "shifted": "the masks are used as they are",
    "group-in-two-splits": "the published split is kept; figures of val and test may look better than on new groups",
    "exif-orientation": "the mask is used as that of the upright image",
    "rare-class": "weights of the classes or another crop may help",
}
NOTES = {
    "thin-border": "it is ignored, as it should be",
    "single-class-mask": "they are used",
    "class-shares": "the share of the labeled pixels, and the number of pixels in a random crop",
}
ACTIONS = {**ERRORS, **WARNINGS, **NOTES}
TITLES = {
    "no-mask": "images without a mask",
    "no-image": "masks without an image",
    "bad-mask-file": "masks that cannot be read",
    "mask-size": "masks of another size than their image",
    "unknown-values": "values in masks that no class has",
    "only-0-and-255": "masks with only 0 and 255, where 255 may mean the object or be ignored",
    "antialiased-edges": "masks with blended values along edges, by smoothing or JPEG",
    "colors": "masks with colors whose classes are not known",
    "no-outline": "objects without a mask",
    "foreground-value": "masks with 0 and one other value",
    "mostly-unlabeled": f"images of which more than {MANY_UNLABELED:.0%} has no class",
    "empty-mask": "masks without any class",
    "missing-class": "classes that a split does not have",
    "label-ids": "values that look like Cityscapes' numbers of labels",
    "values-from-one": "masks whose values begin at 1",
    "small-regions": f"masks with many regions of fewer than {SPECK_PIXELS} pixels",
    "shifted": "masks that seem to be shifted against their images",
    "group-in-two-splits": "groups, such as videos or cities, in two splits",
    "rare-class": f"classes with hardly a pixel in a random crop of {CROP_SIDE}x{CROP_SIDE}",
    "thin-border": "a thin border without a class around objects",
    "single-class-mask": "masks of a single class",
    "class-shares": "classes by their pixels",
    "exif-orientation": "images that EXIF turns or mirrors, whose masks may be those before or after it",
}
