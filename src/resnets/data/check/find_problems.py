"""Finds the cases of every kind of fault, from the data set and from what its files turned out to be."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.check import near_duplicates
from resnets.data.check.check_file import FileResult
from resnets.data.check.problem_kinds import (
    FEW,
    IMBALANCE,
    KINDS,
    LEVELS,
    LONG_ASPECT,
    TINY_SIDE,
    Finding,
    Problem,
    problem,
)
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.formats import HEIC_SUFFIXES

Pair = tuple[Sample, FileResult]
Cases = dict[str, list[Finding]]


def find_problems(dataset: Dataset, found: Sequence[FileResult]) -> tuple[Problem, ...]:
    """The problems of a data set, the worst first. `found` are the files of its samples, in order."""
    pairs = list(zip(dataset.samples, found, strict=True))
    cases: Cases = {kind: [] for kind in KINDS}
    for each in found:
        if each.error:
            cases[each.error.kind].append(Finding((each.path,), each.error.reason))
        else:
            for kind, note in _oddities(each):
                cases[kind].append(Finding((each.path,), note))
    cases |= _of_classes(dataset) | _of_counts(dataset) | _of_copies(pairs) | _of_near_copies(pairs)
    cases["gray"] = _gray_among_colored(found)
    cases["group-across-parts"] = _torn_groups(dataset)
    unused = dataset.unused
    cases["closed"] = [Finding((path,), reason) for path, reason in unused.inaccessible.items()]
    cases["ignored"] = [Finding((path,)) for path in (*unused.folders, *unused.files)]
    cases["doubtful-layout"] = [Finding(note=doubt) for doubt in dataset.layout_warnings]
    problems = [problem(kind, findings) for kind, findings in cases.items() if findings]
    return tuple(sorted(problems, key=lambda each: LEVELS.index(each.level)))


def _oddities(found: FileResult) -> Iterator[tuple[str, str]]:
    """(kind, note) for all that is unusual in an image that can be read."""
    assert found.info is not None
    assert found.thumbnail is not None
    mode, (width, height) = found.info.mode, found.size
    size = f"{width}x{height}"
    if near_duplicates.is_blank(found.thumbnail[None])[0]:
        yield "blank", size
    if min(width, height) < TINY_SIDE:
        yield "tiny", size
    if max(width, height) >= LONG_ASPECT * min(width, height):
        yield "long", size
    if found.info.frames > 1:
        yield "animated", f"{found.info.frames} frames"
    if (named := _named_format(found.path)) and _plain(named) != _plain(found.info.format):
        yield "wrong-suffix", f"is {_plain(found.info.format)}"
    if mode == "CMYK":
        yield "cmyk", ""
    if mode.startswith("I"):
        yield "16-bit", mode
    if mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        yield "alpha", mode
    if mode in ("P", "1"):
        yield "palette", mode
    if found.info.orientation > 1:
        yield "rotated", f"orientation {found.info.orientation}"


def _plain(kind: str) -> str:
    return {"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind)  # phones write several JPEGs into one file and call it .jpg


def _named_format(path: str) -> str | None:
    suffix = Path(path).suffix.lower()
    # Pillow knows these only once their library was needed.
    return "HEIF" if suffix in HEIC_SUFFIXES else Image.registered_extensions().get(suffix)


def _gray_among_colored(found: Sequence[FileResult]) -> list[Finding]:
    modes = {each.path: each.info.mode for each in found if each.info and not each.error}
    gray = [path for path, mode in modes.items() if mode in ("L", "LA", "1") or mode.startswith("I")]
    return [Finding((path,)) for path in gray] if len(gray) < len(modes) else []


def _of_classes(dataset: Dataset) -> Cases:
    labels = {part: {str(sample.label) for sample in dataset.subset(part)} for part in dataset.splits}
    train = labels.get("train")
    unknown = [f"{name} (in {part})" for part in labels for name in sorted(labels[part] - (train or labels[part]))]
    absent = [f"{name} (not in {part})" for part in labels for name in sorted((train or labels[part]) - labels[part])]
    names_by_form: dict[str, list[str]] = defaultdict(list)
    for name in sorted({*dataset.classes, *dataset.empty_classes}):
        folded = unicodedata.normalize("NFKC", name).casefold()
        names_by_form["".join(folded.replace("_", " ").replace("-", " ").split())].append(name)
    return {
        "empty-class": [Finding(note=name) for name in dataset.empty_classes],
        "single-class": [Finding(note=name) for name in dataset.classes] if len(dataset.classes) == 1 else [],
        "unknown-class": [Finding(note=note) for note in unknown],
        "absent-class": [Finding(note=note) for note in absent],
        "alike-class-names": [Finding(note=_equal(names)) for names in names_by_form.values() if len(names) > 1],
        "unicode-forms": [
            Finding(note=_equal([ascii(name)[1:-1] for name in names])) for names in dataset.unicode_variants
        ],
    }


def _said(words: Iterable[str | None]) -> str:
    """`2 train, 1 val`."""
    return ", ".join(f"{count} {word or 'no part'}" for word, count in sorted(Counter(words).items(), key=str))


def _equal(names: Sequence[str]) -> str:
    return " = ".join(f"'{name}'" for name in names)


def _of_counts(dataset: Dataset) -> Cases:
    learned = [sample for sample in dataset.samples if sample.split in (None, "train")]
    counts = Counter(str(sample.label) for sample in learned).most_common()
    few = [Finding(note=f"{name}: {count}") for name, count in reversed(counts) if count < FEW]
    if not counts or counts[0][1] < IMBALANCE * counts[-1][1]:
        return {"few-images": few, "imbalance": []}
    (most, high), (least, low) = counts[0], counts[-1]
    return {"few-images": few, "imbalance": [Finding(note=f"{most}: {high:,}, but {least}: {low:,}")]}


def _torn_groups(dataset: Dataset) -> list[Finding]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.group is not None:
            groups[sample.group].append(sample)
    torn = {name: members for name, members in groups.items() if len({member.split for member in members}) > 1}
    return [
        Finding(tuple(member.path for member in members), f"{name}: {_said(member.split for member in members)}")
        for name, members in torn.items()
    ]


def _of_copies(pairs: Sequence[Pair]) -> Cases:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair[1].bytes:
            groups[pair[1].sha256].append(pair)
    return _by_harm("copies", [group for group in groups.values() if len(group) > 1])


def _of_near_copies(pairs: Sequence[Pair]) -> Cases:
    unlike: dict[str, Pair] = {}  # one of each set of exact copies
    for pair in pairs:
        if pair[1].thumbnail is not None:
            unlike.setdefault(pair[1].sha256, pair)
    chosen = list(unlike.values())
    thumbnails = np.array([found.thumbnail for _, found in chosen], dtype=np.uint8)
    groups = near_duplicates.find_near_duplicates(thumbnails.reshape(-1, near_duplicates.SIDE, near_duplicates.SIDE))
    return _by_harm("near-copies", [[chosen[number] for number in group] for group in groups])


def _by_harm(kind: str, groups: Sequence[Sequence[Pair]]) -> Cases:
    """Copies under two labels, copies in two parts, and those that do no such harm."""
    cases: Cases = {f"{kind}-under-two-labels": [], f"{kind}-across-parts": [], kind: []}
    for group in groups:
        paths = tuple(sample.path for sample, _ in group)
        labels, parts = {sample.label for sample, _ in group}, {sample.split for sample, _ in group}
        if len(labels) > 1:
            cases[f"{kind}-under-two-labels"].append(Finding(paths, _said(sample.label for sample, _ in group)))
        if len(parts) > 1:
            cases[f"{kind}-across-parts"].append(Finding(paths, _said(sample.split for sample, _ in group)))
        if len(labels) == len(parts) == 1:
            cases[kind].append(Finding(paths))
    return cases
