"""The kinds of faults in the annotations of objects, and what is done about each."""

from __future__ import annotations

from typing import NamedTuple

SMALL_SIDE = 2.0  # pixels
MANY_OBJECTS = 100  # of an image: COCO's evaluation counts no more detections of a class

# What is done about each kind of fault. The objects, or images, of an error are left out where that is asked for.
ERRORS = {
    "not-annotated": "an error; where errors are skipped, the image is left out",
    "no-class": "an error; where errors are skipped, the object is left out",
    "bad-box": "an error; where errors are skipped, the object is left out",
    "empty-box": "an error; where errors are skipped, the object is left out",
    "outside": "an error; where errors are skipped, the object is left out",
    "fractions": "an error; where errors are skipped, the object is left out",
}
WARNINGS = {
    "bad-mask": "the object has no mask",
    "over-edge": "the box is cut at the edge",
    "duplicate": "the second object is left out",
    "two-labels": "none; one of the two may be wrong",
    "small-box": "none",
    "turned": "the boxes are turned with the image",
    "other-size": "the boxes are scaled to the size of the image",
    "other-shape": "none; the boxes may be those of another image",
    "from-one": "none; subtract 1 from the left and upper coordinates if they are",
    "corners": "none; write width and height if they are",
}
NOTES = {
    "many-objects": "none; of each class as many detections are evaluated, where COCO's rules say 100",
    "unknown-turn": "none; the annotations are taken as those of the upright image",
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
