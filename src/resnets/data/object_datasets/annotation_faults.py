"""The kinds of faults in the annotations of objects, and what is done about each."""

from __future__ import annotations

from typing import NamedTuple

SMALL_SIDE = 2.0  # pixels
MANY_OBJECTS = 100  # of an image: COCO's evaluation counts no more detections of a class

# What is done about each kind of fault. Those of `ERRORS` are refused without `on_bad=skip`.
ERRORS = {
    "not-annotated": "with `on_bad=skip`, the image is left out",
    "no-class": "with `on_bad=skip`, the object is left out",
    "bad-box": "with `on_bad=skip`, the object is left out",
    "empty-box": "with `on_bad=skip`, the object is left out",
    "outside": "with `on_bad=skip`, the object is left out",
    "fractions": "with `on_bad=skip`, the object is left out",
}
WARNINGS = {
    "bad-mask": "the object is used without a mask",
    "over-edge": "the box is clipped to the image",
    "duplicate": "only the first of the two objects is used",
    "two-labels": "both objects are used; one of the labels may be wrong",
    "small-box": "the box is used as it is",
    "turned": "the boxes are turned with the image",
    "other-size": "the boxes are scaled to the size of the image",
    "other-shape": "the boxes are used as they are; they may belong to another image",
    "from-one": "the boxes are used as they are; if the first pixel is 1, subtract 1 from the left and upper coordinates",
    "corners": "the boxes are used as they are; if they are two corners, replace the second one by width and height",
}
NOTES = {
    "many-objects": "all are used; an evaluation counts as many detections of each class, where COCO's rules say 100",
    "unknown-turn": "the annotations are used as those of the upright image",
}
ACTIONS = {**ERRORS, **WARNINGS, **NOTES}
TITLES = {
    "not-annotated": "images without annotations",
    "no-class": "objects without a class",
    "bad-box": "boxes that are not four finite numbers",
    "empty-box": "boxes without a size",
    "outside": "boxes outside of their image",
    "fractions": "boxes within one pixel, as if they were fractions of the sides",
    "bad-mask": "masks that cannot be used",
    "over-edge": "boxes over the edge of their image",
    "duplicate": "objects that are annotated twice",
    "two-labels": "boxes with two labels",
    "small-box": f"boxes of less than {SMALL_SIDE:g} pixels",
    "turned": "images that EXIF turns, but not their annotations",
    "unknown-turn": "images that EXIF turns or mirrors, whose annotations may be those before or after it",
    "other-size": "annotations of an image of another size",
    "other-shape": "annotations of an image of another shape",
    "from-one": "boxes that seem to be counted from 1",
    "corners": "boxes that seem to be two corners, not a corner and a size",
    "many-objects": f"images with more than {MANY_OBJECTS} objects",
}


class AnnotationFault(NamedTuple):
    """A fault of an image, or of one of its objects, by its number in the file from 1; 0 for the image."""

    path: str
    object: int
    kind: str
    note: str

    def __str__(self) -> str:
        where = f"'{self.path}'" + (f", object {self.object}" if self.object else "")
        return f"{where}: {self.note}" if self.note else where
