"""Read and write `split.csv`: the split of every image, with the SHA-256 by which the image is recognized."""

import csv
import io
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from resnets.atomic_write import write_bytes
from resnets.data.check import check_file
from resnets.data.datasets.dataset import SPLITS, Dataset, DigestedTarget, Sample, labels_as_text, nfc
from resnets.data.loading.hash_files import hash_samples
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.split.make_split import refuse_shards
from resnets.errors import UserError
from resnets.message_format import format_list

COLUMNS = ("path", "sha256", "label", "split", "group")
ANNOTATION = "annotation"  # one more column for a `DigestedTarget`


def write_split(path: str | Path, dataset: Dataset) -> None:
    """Write the split as a .csv: path (relative to the dataset if it is inside it), sha256, label, split, group, and the
    digest of the annotation where targets have one.
    """
    digests = [_annotation(sample) for sample in dataset.samples]
    has_digests = any(digests)
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow((*COLUMNS, ANNOTATION) if has_digests else COLUMNS)
    for sample, digest in zip(dataset.samples, digests, strict=True):
        row = [_key(dataset, sample), sample.sha256, labels_as_text(sample), sample.split, sample.group or ""]
        writer.writerow([*row, digest] if has_digests else row)
    # A file name that is not UTF-8 is written with the bytes that it has.
    write_bytes(path, table.getvalue().encode("utf-8", errors="surrogateescape"))


def read_split(path: str | Path, dataset: Dataset) -> Dataset:
    """The dataset with the splits that the file gives it. Every image is compared with the one that was split.

    Images that the file does not name are left out if they cannot be read: so they were when it was written.

    Raises:
        UserError: the file is not a split file, or images were changed, removed, added, moved to another class or annotated
            differently since.
    """
    refuse_shards(dataset)
    rows = _read_rows(Path(path))
    present = {_key(dataset, sample): sample for sample in dataset.samples}
    if rows and not rows.keys() & present.keys():
        raise UserError(f"None of the {len(rows):,} images of '{path}' is in '{dataset.root}'. Is it of other data?")
    both = [key for key in present if key in rows]
    hashed = hash_samples([present[key] for key in both])
    sha256s = {key: str(sample.sha256) for key, sample in zip(both, hashed, strict=True)}
    differences = {
        "changed": [key for key in both if sha256s[key] != rows[key]["sha256"]],
        "missing": [key for key in rows if key not in present],
        "added": _readable([key for key in present if key not in rows], present),
        "of another class": [key for key in both if labels_as_text(present[key]) != rows[key]["label"]],
        "annotated differently": [
            key
            for key in both
            if ANNOTATION in rows[key]
            and labels_as_text(present[key]) == rows[key]["label"]
            and _annotation(present[key]) != rows[key][ANNOTATION]
        ],
    }
    messages = [f"{len(keys):,} {what} ({format_list(keys, 5)})" for what, keys in differences.items() if keys]
    if messages:
        raise UserError(f"'{dataset.root}' is no longer what '{path}' was made from: {'; '.join(messages)}.")
    samples = tuple(
        replace(present[key], split=rows[key]["split"], group=rows[key]["group"] or None, sha256=sha256s[key])
        for key in both
    )
    return replace(dataset, samples=samples)


def _readable(keys: Sequence[str], present: Mapping[str, Sample]) -> list[str]:
    results = ordered_map(check_file.verify_image, (present[key].path for key in keys), workers=None, ahead=64)
    return [key for key, (_, error) in zip(keys, results, strict=True) if error is None]


def _key(dataset: Dataset, sample: Sample) -> str:
    """The path as it is written in the file: relative to the dataset if it is inside it, so that the data may be moved."""
    path, root = os.path.abspath(sample.path), os.path.abspath(dataset.root)
    inside = os.path.relpath(path, root) if os.path.commonpath([path, root]) == root else path
    return Path(inside).as_posix()


def _annotation(sample: Sample) -> str:
    """The digest of the annotation; "" where there is none beside the labels."""
    return sample.target.digest() if isinstance(sample.target, DigestedTarget) else ""


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"Cannot read the split file '{path}': {error.strerror}.") from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = {row.get("path") or "": row for row in reader}
    except csv.Error as error:
        raise UserError(f"'{path}' is not a split file: {error}.") from error
    columns = tuple(reader.fieldnames or ())
    if columns not in (COLUMNS, (*COLUMNS, ANNOTATION)) or not all(row["split"] in SPLITS for row in rows.values()):
        raise UserError(
            f"'{path}' is not a split file; `resnets data split DIR --out {shlex.quote(path.name)}` makes one."
        )
    return {key: {**row, "label": nfc(row["label"])} for key, row in rows.items()}
