"""The kinds of problems that a dataset can have: level, title and advice of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from resnets.data.mask_datasets import mask_faults
from resnets.data.object_datasets import annotation_faults

# error: training would fail, or its result would be wrong. warning: check it. note: handled; for information.
LEVELS = ("error", "warning", "note")

TINY_SIDE = 32  # pixels
LONG_ASPECT = 5  # longer by shorter side; a square crop shows less than a fifth of the image
FEW = 10  # training images of a class
IMBALANCE = 10  # images of the largest class by those of the smallest


class Finding(NamedTuple):
    """One case of a problem: its images, a note on this case, and the number of the object concerned, from 1, if it is one."""

    paths: tuple[str, ...] = ()
    note: str = ""
    object: int = 0


@dataclass(frozen=True)
class Problem:
    """All findings of one kind."""

    kind: str
    level: str
    title: str
    advice: str
    findings: tuple[Finding, ...]


class _Kind(NamedTuple):
    level: str
    title: str
    advice: str


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def make_problem(kind: str, findings: Iterable[Finding]) -> Problem:
    """The problem of a kind of `KINDS`."""
    return Problem(kind, *KINDS[kind], tuple(findings))


_REPLACE = "Replace them with intact copies, or delete them."
_TOO_GOOD = "The result on val or test will look better than it is."
_ONE_WRONG = "At least one of the labels is wrong."
_LOOK = "Compare them; if they show the same image, keep one."

KINDS = {
    # files that cannot be read; the kinds are those of DecodeError
    "missing": _Kind("error", "Missing files", "Restore them, or remove the links to them."),
    "directory": _Kind("error", "Folders listed as images", "Remove them from the list."),
    "empty": _Kind("error", "Empty files", _REPLACE),
    "not-an-image": _Kind("error", "Files that are not images", "Delete them, or convert them to JPEG or PNG."),
    "truncated": _Kind("error", "Truncated or damaged images", _REPLACE),
    "bomb": _Kind("error", "Images with too many pixels", "Resize them, or delete files from unknown sources."),
    "unsupported": _Kind("error", "Images that cannot be read", "Convert them to ordinary 8-bit JPEG or PNG."),
    "inaccessible": _Kind("error", "Folders that cannot be read", "Change their permissions, or move them away."),
    # classes
    "empty-class": _Kind("error", "Classes without images", "Put images into the folder, or remove it."),
    "single-class": _Kind("error", "A single class", "At least two classes are needed. Is this the right folder?"),
    "unknown-class": _Kind(
        "error", "Classes without training images", "Correct the name, or add training images of the class."
    ),
    "similar-class-names": _Kind("error", "Class names that look the same", "Merge the classes, or rename one."),
    # duplicates
    "duplicates-under-two-labels": _Kind(
        "error", "The same file under two labels", f"{_ONE_WRONG} Keep the right one."
    ),
    "duplicates-across-splits": _Kind("error", "The same file in two splits", f"{_TOO_GOOD} Keep one."),
    "group-across-splits": _Kind("error", "Groups in two splits", f"{_TOO_GOOD} Move each group to one split."),
    "near-duplicates-under-two-labels": _Kind(
        "warning", "Nearly the same image under two labels", f"{_ONE_WRONG} {_LOOK}"
    ),
    "near-duplicates-across-splits": _Kind("warning", "Nearly the same image in two splits", f"{_TOO_GOOD} {_LOOK}"),
    "near-duplicates": _Kind("warning", "Nearly the same image twice", f"They may get into two splits. {_LOOK}"),
    "duplicates": _Kind(
        "warning", "The same file twice", "Each copy counts in training; all copies stay in one split."
    ),
    # layout, class names and number of images
    "ambiguous-layout": _Kind(
        "warning", "Ambiguous data", "Each says how they are read; change them if that is wrong."
    ),
    "unicode-forms": _Kind(
        "warning", "One class name in two forms of Unicode", "They are taken as one class; rename the folders."
    ),
    "few-images": _Kind(
        "warning", f"Classes with fewer than {FEW} images", "Add images, or expect a low accuracy for these classes."
    ),
    "unused-class": _Kind(
        "warning", "Classes that no image has", "They are left out; correct the labels, or remove the class."
    ),
    "classes-together": _Kind(
        "warning",
        "Classes that only occur together",
        "They cannot be told apart; merge them, or add images of one of them.",
    ),
    "imbalance": _Kind(
        "warning", "Imbalanced classes", "Balance them by sampling or class weights; read macro averages."
    ),
    # unusual images
    "blank": _Kind("warning", "Images of a single color", "They show nothing; delete them."),
    "tiny": _Kind("warning", f"Images with a side under {TINY_SIDE} pixels", "They are enlarged. Are they thumbnails?"),
    "long": _Kind("warning", f"Images {LONG_ASPECT} times as long as wide", "A square crop shows little of them."),
    "animated": _Kind("warning", "Animations and files of several pages", "Only the first image is used."),
    "wrong-suffix": _Kind(
        "warning", "Files with the suffix of another format", "They are read by their content; rename them."
    ),
    "cmyk": _Kind("note", "CMYK images", "They are converted to RGB."),
    "16-bit": _Kind("note", "Images of 16 bits", "They are scaled to 8 bits."),
    "alpha": _Kind("note", "Images with transparency", "Transparent pixels become white."),
    "palette": _Kind("note", "Images with a palette or of one bit", "They are converted to RGB."),
    "gray": _Kind("note", "Gray images among colored ones", "They become RGB. Do they belong to certain classes?"),
    "rotated": _Kind("note", "Images rotated by their EXIF data", "Their orientation is applied."),
    "no-label": _Kind("note", "Images without a label", "They are examples of no class. Were they looked at?"),
    "no-object": _Kind("note", "Images without objects", "They are examples of the background. Were they looked at?"),
    "absent-class": _Kind("note", "Classes missing from a split", "They are not evaluated there."),
    "text-order": _Kind(
        "note", "Numbers sorted as text", "Write 01, 02, 10 if the index of a class should follow its number."
    ),
    "unused": _Kind("note", "Files and folders that are not used", "They are not images of a class."),
}

# of objects and of masks
KINDS |= {
    kind: _Kind(level, _capitalize(faults.TITLES[kind]), f"{advice}{_capitalize(action)}.")
    for faults in (annotation_faults, mask_faults)
    for level, kinds, before in (
        ("error", faults.ERRORS, "Correct them. "),
        ("warning", faults.WARNINGS, "Check them. "),
        ("note", faults.NOTES, ""),
    )
    for kind, action in kinds.items()
    for advice in ("" if kind in mask_faults.QUESTIONS else before,)
}
