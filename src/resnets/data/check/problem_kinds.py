"""The kinds of problems that a dataset can have: level, title and advice of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

# error: training would fail, or its result would be wrong. warning: have a look. note: good to know, and handled.
LEVELS = ("error", "warning", "note")

TINY_SIDE = 32  # pixels
LONG_ASPECT = 5  # longer by shorter side; a square crop shows less than a fifth of the image
FEW = 10  # training images of a class
IMBALANCE = 10  # images of the largest class by those of the smallest


class Finding(NamedTuple):
    """One case of a problem: its images, and a note on this case."""

    paths: tuple[str, ...] = ()
    note: str = ""


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


def make_problem(kind: str, findings: Iterable[Finding]) -> Problem:
    """The problem of a kind of `KINDS`."""
    return Problem(kind, *KINDS[kind], tuple(findings))


_GET_AGAIN = "Get them again or delete them."
_TOO_GOOD = "The result on val or test will look better than it is."
_ONE_WRONG = "At least one of the labels is wrong."
_LOOK = "Look whether they are one image; if so, keep one."

KINDS = {
    # files that cannot be read; the kinds are those of DecodeError
    "missing": _Kind("error", "Files that are not there", "Restore them, or remove the links."),
    "directory": _Kind("error", "Folders where an image should be", "Remove them from the list."),
    "empty": _Kind("error", "Empty files", _GET_AGAIN),
    "not-an-image": _Kind("error", "Files that are not images", "Delete them, or convert them to JPEG or PNG."),
    "truncated": _Kind("error", "Images that are cut short or damaged", _GET_AGAIN),
    "bomb": _Kind("error", "Images of an unreasonable size", "Make them smaller, or delete what you do not know."),
    "unsupported": _Kind("error", "Images that cannot be read", "Convert them to ordinary 8-bit JPEG or PNG."),
    "inaccessible": _Kind(
        "error", "Folders that cannot be looked into", "Change their permissions, or move them away."
    ),
    # classes
    "empty-class": _Kind("error", "Classes without images", "Put images into the folder, or remove it."),
    "single-class": _Kind("error", "A single class", "Two are needed to tell apart. Is it the right folder?"),
    "unknown-class": _Kind(
        "error", "Classes that train does not have", "Correct the name, or give train images of it."
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
    "duplicates": _Kind("warning", "The same file twice", "It counts twice in training; they stay in one split."),
    # what there is to learn from
    "ambiguous-layout": _Kind("warning", "Folders that could mean something else", "Rename or move them."),
    "unicode-forms": _Kind("warning", "One class name in two forms of Unicode", "Taken as one; rename the folders."),
    "few-images": _Kind("warning", f"Classes with fewer than {FEW} images", "Find more, or expect little of them."),
    "imbalance": _Kind(
        "warning", "Very unequal classes", "Balance them by sampling or class weights; read macro averages."
    ),
    # images that can be read, but are odd
    "blank": _Kind("warning", "Images of a single color", "There is nothing to see in them; delete them."),
    "tiny": _Kind("warning", f"Images with a side under {TINY_SIDE} pixels", "They are enlarged. Are they thumbnails?"),
    "long": _Kind("warning", f"Images {LONG_ASPECT} times as long as wide", "A square crop shows little of them."),
    "animated": _Kind("warning", "Animations and files of several pages", "Only the first image is used."),
    "wrong-suffix": _Kind("warning", "Files named for another format", "They are read all the same; rename them."),
    "cmyk": _Kind("note", "Images in printing colors (CMYK)", "They are converted to RGB."),
    "16-bit": _Kind("note", "Images of 16 bits", "They are scaled to 8 bits."),
    "alpha": _Kind("note", "Images with transparency", "Transparent pixels become white."),
    "palette": _Kind("note", "Images with a palette or of one bit", "They are converted to RGB."),
    "gray": _Kind("note", "Gray images among colored ones", "They become RGB. Do they belong to certain classes?"),
    "rotated": _Kind("note", "Images rotated by their EXIF data", "Their orientation is applied."),
    "absent-class": _Kind("note", "Classes that a split does not have", "They are not evaluated there."),
    "text-order": _Kind(
        "note", "Numbers sorted as text", "Write 01, 02, 10 if the index of a class shall follow its number."
    ),
    "unused": _Kind("note", "Files and folders that are not used", "They are not images of a class."),
}
