"""Find the problems of a dataset, from its samples and from what was found in its files."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.check import near_duplicates
from resnets.data.check.check_file import FileResult
from resnets.data.check.exact_duplicates import find_exact_duplicates
from resnets.data.check.problem_kinds import (
    FEW,
    IMBALANCE,
    KINDS,
    LEVELS,
    LONG_ASPECT,
    TINY_SIDE,
    Finding,
    Problem,
    make_problem,
)
from resnets.data.datasets.dataset import Dataset, Sample, labels_as_text, labels_of, relative_path, text_order_note
from resnets.data.image.formats import HEIC_SUFFIXES
from resnets.data.mask_datasets.image_mask import ImageMask, has_masks
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.data.object_datasets.objects import ImageObjects
from resnets.message_format import pluralize

Pair = tuple[Sample, FileResult]
Findings = dict[str, list[Finding]]  # by the kind of problem


def find_problems(
    dataset: Dataset,
    results: Sequence[FileResult],
    faults: Sequence[AnnotationFault] = (),
    vectors: np.ndarray | None = None,
) -> tuple[Problem, ...]:
    """The problems of a dataset, sorted by level: errors, warnings, notes.

    Args:
        results: of the files of its samples, in order.
        faults: of its objects or masks.
        vectors: float (N, D), of its samples; see `find_near_duplicates`.
    """
    pairs = list(zip(dataset.samples, results, strict=True))
    findings: Findings = {kind: [] for kind in KINDS}
    for result in results:
        if result.error:
            findings[result.error.kind].append(Finding((result.path,), result.error.reason))
        else:
            for kind, note in _unusual(result):
                findings[kind].append(Finding((result.path,), note))
    for fault in faults:
        paths = () if fault.path == str(dataset.root) else (fault.path,)
        findings[fault.kind].append(Finding(paths, fault.note, fault.object))
    findings |= _class_findings(dataset) | _count_findings(dataset)
    findings |= _exact_duplicate_findings(pairs) | _near_duplicate_findings(pairs, vectors)
    findings["gray"] = _gray_among_colored(results)
    findings["group-across-splits"] = [] if has_masks(dataset) else _divided_groups(dataset)
    unused = dataset.unused
    findings["inaccessible"] = [Finding((path,), reason) for path, reason in unused.inaccessible.items()]
    findings["unused"] = [Finding((path,)) for path in (*unused.folders, *unused.files)]
    findings["ambiguous-layout"] = [Finding(note=warning) for warning in dataset.layout_warnings]
    problems = [make_problem(kind, found) for kind, found in findings.items() if found]
    return tuple(sorted(problems, key=lambda problem: LEVELS.index(problem.level)))


def _unusual(result: FileResult) -> Iterator[tuple[str, str]]:
    """(kind, note) for everything unusual in an image that can be read."""
    assert result.info is not None
    assert result.thumbnail is not None
    mode, (width, height) = result.info.mode, result.size
    size = f"{width}x{height}"
    if near_duplicates.is_blank(result.thumbnail[None])[0]:
        yield "blank", size
    if min(width, height) < TINY_SIDE:
        yield "tiny", size
    if max(width, height) >= LONG_ASPECT * min(width, height):
        yield "long", size
    if result.info.frames > 1:
        yield "animated", f"{result.info.frames} frames"
    if (expected := _format_of_suffix(result.path)) and _base_format(expected) != _base_format(result.info.format):
        yield "wrong-suffix", f"is {_base_format(result.info.format)}"
    if mode == "CMYK":
        yield "cmyk", ""
    if mode.startswith("I"):
        yield "16-bit", mode
    if mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        yield "alpha", mode
    if mode in ("P", "1"):
        yield "palette", mode
    if result.info.orientation > 1:
        yield "rotated", f"orientation {result.info.orientation}"


def _base_format(name: str) -> str:
    # Phones write several JPEGs into one file (MPO) and call it .jpg.
    return {"MPO": "JPEG", "DIB": "BMP"}.get(name, name)


def _format_of_suffix(path: str) -> str | None:
    suffix = Path(path).suffix.lower()
    # Pillow knows the suffixes of HEIC only after pi-heif was imported.
    return "HEIF" if suffix in HEIC_SUFFIXES else Image.registered_extensions().get(suffix)


def _gray_among_colored(results: Sequence[FileResult]) -> list[Finding]:
    modes = {result.path: result.info.mode for result in results if result.info and not result.error}
    gray = [path for path, mode in modes.items() if mode in ("L", "LA", "1") or mode.startswith("I")]
    return [Finding((path,)) for path in gray] if len(gray) < len(modes) else []


def _class_findings(dataset: Dataset) -> Findings:
    labels = {split: labels_of(dataset.subset(split)) for split in dataset.splits}
    train = labels.get("train")
    unknown = [
        Finding(note=f"{name} ({_describe_images(dataset, split, name)})")
        for split in labels
        for name in sorted(labels[split] - (train or labels[split]))
    ]
    absent = [
        f"{name} (not in {split})" for split in labels for name in sorted((train or labels[split]) - labels[split])
    ]
    similar: dict[str, list[str]] = defaultdict(list)
    for name in sorted({*dataset.class_names, *dataset.empty_classes}):
        folded = unicodedata.normalize("NFKC", name).casefold()
        similar["".join(folded.replace("_", " ").replace("-", " ").split())].append(name)
    masks = has_masks(dataset)
    order = "" if masks else text_order_note(dataset.class_names)
    objects = any(isinstance(sample.target, ImageObjects) for sample in dataset.samples)
    located = objects or masks  # boxes and masks tell classes apart
    return {
        "empty-class": [Finding(note=name) for name in dataset.empty_classes],
        "single-class": [
            Finding(note=name) for name in dataset.class_names if not objects and len(dataset.class_names) == 1
        ],
        "unknown-class": [] if masks else unknown,
        "absent-class": [] if masks else [Finding(note=note) for note in absent],
        "unused-class": [Finding(note=name) for name in dataset.unused_classes],
        "classes-together": [] if located else _classes_together(dataset),
        "no-label": _without_label(dataset),
        "no-object": _without_object(dataset) if objects else [],
        "similar-class-names": [Finding(note=_equation(names)) for names in similar.values() if len(names) > 1],
        "unicode-forms": [
            Finding(note=_equation([ascii(name)[1:-1] for name in names])) for names in dataset.unicode_variants
        ],
        "text-order": [Finding(note=order)] if order else [],
    }


def _describe_images(dataset: Dataset, split: str, label: str) -> str:
    paths = [sample.path for sample in dataset.subset(split) if label in (sample.labels or ())]
    return f"{pluralize(len(paths), 'image')} in {split}, such as '{relative_path(str(dataset.root), paths[0])}'"


def _classes_together(dataset: Dataset) -> list[Finding]:
    images: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(dataset.samples):
        for name in sorted(set(sample.labels or ())):
            images[name].append(index)
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, indices in images.items():
        together[tuple(indices)].append(name)
    return [
        Finding(note=f"{', '.join(names)}: {pluralize(len(indices), 'image')}")
        for indices, names in together.items()
        if len(names) > 1
    ]


def _without_label(dataset: Dataset) -> list[Finding]:
    count = sum(not sample.labels and sample.target is None for sample in dataset.samples)
    return [Finding(note=f"{count:,} of {len(dataset.samples):,}")] if count else []


def _without_object(dataset: Dataset) -> list[Finding]:
    empty = [
        sample.split
        for sample in dataset.samples
        if isinstance(sample.target, ImageObjects) and not sample.target.objects
    ]
    by_split = f": {_count_by_value(empty)}" if dataset.splits else ""
    return [Finding(note=f"{len(empty):,} of {len(dataset.samples):,}{by_split}")] if empty else []


def _annotation(sample: Sample, kind: str) -> str:
    """What equal images have in common: their labels; the mask of a copy, while those of similar images differ."""
    if not isinstance(sample.target, ImageMask):
        return labels_as_text(sample)
    return "" if kind == "near-duplicates" else f"mask {sample.target.digest()[:8]}"


def _count_by_value(values: Iterable[str | None]) -> str:
    """`2 train, 1 val`."""
    return ", ".join(f"{count} {value or 'no split'}" for value, count in sorted(Counter(values).items(), key=str))


def _equation(names: Sequence[str]) -> str:
    return " = ".join(f"'{name}'" for name in names)


def _count_findings(dataset: Dataset) -> Findings:
    train = [sample for sample in dataset.samples if sample.split in (None, "train")]
    counts = Counter(name for sample in train for name in set(sample.labels or ())).most_common()
    few = [Finding(note=f"{name}: {count}") for name, count in reversed(counts) if count < FEW]
    if not counts or counts[0][1] < IMBALANCE * counts[-1][1] or has_masks(dataset):
        return {"few-images": few, "imbalance": []}
    (most, high), (least, low) = counts[0], counts[-1]
    return {"few-images": few, "imbalance": [Finding(note=f"{most}: {high:,}, but {least}: {low:,}")]}


def _divided_groups(dataset: Dataset) -> list[Finding]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.group is not None:
            groups[sample.group].append(sample)
    divided = {name: members for name, members in groups.items() if len({member.split for member in members}) > 1}
    return [
        Finding(tuple(member.path for member in members), f"{name}: {_count_by_value(each.split for each in members)}")
        for name, members in divided.items()
    ]


def _exact_duplicate_findings(pairs: Sequence[Pair]) -> Findings:
    groups = find_exact_duplicates(result.sha256 if result.bytes else None for _, result in pairs)
    return _duplicate_findings("duplicates", [[pairs[index] for index in group] for group in groups])


def _near_duplicate_findings(pairs: Sequence[Pair], vectors: np.ndarray | None) -> Findings:
    distinct: dict[str, int] = {}  # one of each set of exact duplicates
    for index, (_, result) in enumerate(pairs):
        if result.thumbnail is not None:
            distinct.setdefault(result.sha256, index)
    indices = list(distinct.values())
    chosen = [pairs[index] for index in indices]
    thumbnails = np.array([result.thumbnail for _, result in chosen], dtype=np.uint8)
    thumbnails = thumbnails.reshape(-1, near_duplicates.SIDE, near_duplicates.SIDE)
    groups = near_duplicates.find_near_duplicates(thumbnails, None if vectors is None else vectors[indices])
    return _duplicate_findings("near-duplicates", [[chosen[index] for index in group] for group in groups])


def _are_of_one_group(pairs: Sequence[Pair]) -> bool:
    """Whether the images are of one group, such as the frames of a video, and so stay in one split."""
    return pairs[0][0].group is not None and len({sample.group for sample, _ in pairs}) == 1


def _duplicate_findings(kind: str, groups: Sequence[Sequence[Pair]]) -> Findings:
    """Duplicates under two labels, duplicates in two splits, and those that do no such harm."""
    findings: Findings = {f"{kind}-under-two-labels": [], f"{kind}-across-splits": [], kind: []}
    for group in groups:
        paths = tuple(sample.path for sample, _ in group)
        texts = [_annotation(sample, kind) for sample, _ in group]
        labels, splits = set(texts), {sample.split for sample, _ in group}
        if len(labels) > 1:
            note = _count_by_value(text or "no label" for text in texts)
            findings[f"{kind}-under-two-labels"].append(Finding(paths, note))
        if len(splits) > 1:
            note = _count_by_value(sample.split for sample, _ in group)
            findings[f"{kind}-across-splits"].append(Finding(paths, note))
        if len(labels) == len(splits) == 1 and not (kind == "near-duplicates" and _are_of_one_group(group)):
            findings[kind].append(Finding(paths))
    return findings
