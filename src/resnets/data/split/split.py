"""The split into train, val and test: made by content, and kept in a file that every later command reads."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from resnets.atomic_write import write_bytes
from resnets.data.check import check_file
from resnets.data.datasets.dataset import PARTS, Sample, Source, Stored, composed, counted, listed
from resnets.data.sha256 import hashes
from resnets.data.split.stratify import allot, units
from resnets.data.thread_pool import in_order
from resnets.errors import UserError
from resnets.progress import log

HELD_OUT = ("val", "test")
VAL_FRACTION, SEED = 0.2, 123  # where none is given
COLUMNS = ("path", "sha256", "label", "split", "group")


def split(
    source: Source,
    *,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int | None = None,
    group_by: str | bool | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> Source:
    """Give every image its part; the result is what a training may rely on.

    The parts that the source has stay as they are; a val (or test, if asked for) that it lacks is cut from train. The
    same images are split in the same way whatever their names and their order. Exact copies stay together, and so do
    groups; otherwise every class is cut by the same fractions. A class of a single image is in train.

    Args:
        val_fraction: share of all images that could be cut from, 0 … 1; None for 0.2, where the source has no val.
        test_fraction: likewise; None for 0.
        seed: another one is another split; None for 123.
        group_by: column of the list whose equal values form a group (`True` is the column `group`, which counts without
            being asked for, too); `folder` for the folders within the class folders.
        folds: cut what is not test into so many equal folds, instead of by `val_fraction`.
        fold: the one, from 1, that is val here.

    Raises:
        UserError: the source cannot be trained on (a class without images, a single class, a class that only val or
            test has), or cannot be split so; a given value would have no effect.
    """
    _check_stored(source)
    _check_folds(folds, fold)
    _check_effect(source, val_fraction, test_fraction, folds)
    val = (0.0 if folds else VAL_FRACTION) if val_fraction is None else val_fraction
    _check_fractions(val, test_fraction or 0.0)
    _check_classes(source)
    source = _grouped(source, group_by)
    fractions = _wanted(source, val, test_fraction or 0.0, folds)
    if seed is not None and not fractions and not folds:
        raise UserError(f"`seed={seed}` has no effect: there is nothing to divide. Leave it out.")
    samples = _hashed(source.samples)
    if fractions or folds:
        samples = _cut(samples, fractions, SEED if seed is None else seed, folds, fold)
    else:
        samples = [replace(each, split=each.split or "train") for each in samples]
    done = replace(source, samples=tuple(samples))
    _check_train_knows_all(done)
    _say_what_is_odd(done)
    return done


def inherited(
    source: Source,
    splits: Mapping[str, str],
    *,
    val_fraction: float = 0.2,
    seed: int = 123,
    group_by: str | bool | None = None,
) -> Source | None:
    """Every image that was in a split before stays there, by its content; the others are split as `split` would.

    Groups stay together: one of which an image was in train is in train altogether, except for images that the source
    itself has in val or test. Where the new images are too few to divide, they are all in train.

    Args:
        splits: the split of each image by the SHA-256 of its file, as another run had it.
        group_by: as for `split`.

    Returns:
        None where nothing was in a split before, or where there would be no train or val images.
    """
    _check_stored(source)
    _check_classes(source)
    source = _grouped(source, group_by)
    samples = _hashed(source.samples)
    if not any(each.sha256 in splits for each in samples):
        return None
    parts = _kept(samples, splits)
    new = [number for number, part in enumerate(parts) if part is None]
    kept = {part: parts.count(part) for part in PARTS if part in parts}
    fresh, how = _cut_new([replace(samples[number], split=None) for number in new], val_fraction, seed)
    cut = dict(zip(new, fresh, strict=True))
    done = [cut.get(number) or replace(each, split=parts[number]) for number, each in enumerate(samples)]
    made = replace(source, samples=tuple(done))
    if not made.part("train") or not made.part("val"):
        return None
    _check_train_knows_all(made)
    _say_what_is_odd(made)
    _say_torn_groups(made)
    log(
        "the split is that of the weights, by the content of the images: "
        + ", ".join(f"{count:,} stay in {part}" for part, count in kept.items())
        + how
    )
    return made


def _kept(samples: Sequence[Sample], splits: Mapping[str, str]) -> list[str | None]:
    """The split of each image that has one by its source, by another run, or by its group; None for the others."""
    known = [each.split if each.split in HELD_OUT else splits.get(str(each.sha256)) for each in samples]
    groups: dict[str, str] = {}
    for part in PARTS:  # train first
        groups |= {
            each.group: part
            for each, its in zip(samples, known, strict=True)
            if its == part and each.group and each.group not in groups
        }

    def kept(sample: Sample, part: str | None) -> str | None:
        of_group = groups.get(sample.group or "")
        if sample.split in HELD_OUT or of_group is None:
            return part
        if part is None:
            return None if sample.split == "train" and of_group == "test" else of_group
        return "train" if of_group == "train" else part

    return [kept(sample, part) for sample, part in zip(samples, known, strict=True)]


def _cut_new(samples: list[Sample], val_fraction: float, seed: int) -> tuple[list[Sample], str]:
    """The images that were in no split before, each with its split, and in words how they were split."""
    if not samples:
        return [], ""
    many = counted(len(samples), "new image")
    try:
        return _cut(samples, {"val": val_fraction}, seed, None, None), f"; {many} split anew"
    except UserError:  # they are too few for a val of their own, and there is one already
        return [replace(each, split="train") for each in samples], f"; {many} to train, too few to divide"


def write(path: str | Path, source: Source) -> None:
    """Write the split as a .csv: path (relative to the source where it lies in it), sha256, label, split, group."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sample in source.samples:
        writer.writerow([_key(source, sample), sample.sha256, sample.label, sample.split, sample.group or ""])
    # A file name that is no UTF-8 is written with the bytes that it has.
    write_bytes(path, table.getvalue().encode("utf-8", errors="surrogateescape"))


def read(path: str | Path, source: Source) -> Source:
    """The source with the parts that the file gives it. Every image is compared with the one that was split.

    Images that the file does not name are left out when they cannot be read: so they were when it was made.

    Raises:
        UserError: the file is no split, or images were changed, removed, added or moved to another class since.
    """
    _check_stored(source)
    rows = _rows(Path(path))
    present = {_key(source, sample): sample for sample in source.samples}
    if rows and not rows.keys() & present.keys():
        raise UserError(f"None of the {len(rows):,} images of '{path}' is in '{source.root}'. Is it of other data?")
    both = [key for key in present if key in rows]
    digests = {key: str(each.sha256) for key, each in zip(both, _hashed([present[key] for key in both]), strict=True)}
    differences = {
        "changed": [key for key in both if digests[key] != rows[key]["sha256"]],
        "missing": [key for key in rows if key not in present],
        "added": _readable([key for key in present if key not in rows], present),
        "of another class": [key for key in both if present[key].label != rows[key]["label"]],
    }
    found = [f"{len(keys):,} {what} ({listed(keys, 5)})" for what, keys in differences.items() if keys]
    if found:
        raise UserError(f"'{source.root}' is no longer what '{path}' was made from: {'; '.join(found)}.")
    samples = tuple(
        replace(present[key], split=rows[key]["split"], group=rows[key]["group"] or None, sha256=digests[key])
        for key in both
    )
    return replace(source, samples=samples)


def _readable(keys: Sequence[str], present: Mapping[str, Sample]) -> list[str]:
    judged = in_order(check_file.judge, (present[key].path for key in keys), workers=None, ahead=64)
    return [key for key, (_, error) in zip(keys, judged, strict=True) if error is None]


def _hashed(samples: Sequence[Sample]) -> list[Sample]:
    """The images with the SHA-256 of their files; only those that lack it are read."""
    unknown = [sample.path for sample in samples if sample.sha256 is None]
    digests = dict(zip(unknown, hashes(unknown), strict=True))
    return [replace(each, sha256=each.sha256 or digests[each.path]) for each in samples]


def _check_stored(source: Source) -> None:
    if isinstance(source.samples, Stored):
        raise UserError(
            f"'{source.root}' holds shards, which were divided when they were written. To divide the images in another "
            "way, write them anew: resnets data shard DATA OUT --split-file FILE."
        )


def _check_fractions(val: float, test: float) -> None:
    for flag, fraction in (("`val_fraction`", val), ("`test_fraction`", test)):
        if not 0 <= fraction < 1:
            raise UserError(f"{flag} is {fraction:g}; it is a share between 0 and 1, such as 0.2.")
    if val + test >= 1:
        raise UserError(f"`val_fraction={val:g}` and `test_fraction={test:g}` leave nothing to train on.")


def _check_effect(source: Source, val: float | None, test: float | None, folds: int | None) -> None:
    for name, given in (("val", val), ("test", test)):
        if given is not None and name in source.parts:
            raise UserError(
                f"`{name}_fraction={given:g}` has no effect: '{source.root}' has a {name} split of its own. Leave it out."
            )
    if folds is not None and val is not None:
        raise UserError(f"`folds={folds}` and `val_fraction={val:g}` exclude each other: each says what val is.")


def _check_folds(folds: int | None, fold: int | None) -> None:
    if folds is None and fold is None:
        return
    if folds is None or folds < 2:
        received = "missing" if folds is None else folds
        raise UserError(f"`folds` is {received}; at least 2 folds are needed, such as `folds=5` `fold=1`.")
    if fold is None or not 1 <= fold <= folds:
        received = "missing" if fold is None else fold
        raise UserError(f"`fold` is {received}; choose which of the {folds} folds is val, from 1 to {folds}.")


def _check_classes(source: Source) -> None:
    if source.empty:
        what = "a class folder" if len(source.empty) == 1 else "class folders"
        raise UserError(f"'{source.root}' has {what} without images: {listed(source.empty)}. Remove it or fill it.")
    if len(source.classes) != 1:
        return
    inner = sorted({sample.columns.get("folder", "").split("/")[0] for sample in source.samples} - {""})
    place = source.root / source.classes[0]
    hint = f" It has folders of its own, {listed(inner, 5)}: if those are the classes, give '{place}'." if inner else ""
    raise UserError(
        f"'{source.root}' has a single class, '{source.classes[0]}'; at least two are needed to tell apart.{hint}"
    )


def _check_train_knows_all(source: Source) -> None:
    known = {sample.label for sample in source.part("train")}
    for part in ("val", "test"):
        unknown = sorted({str(sample.label) for sample in source.part(part)} - known)
        if unknown:
            what = "a class" if len(unknown) == 1 else "classes"
            raise UserError(f"The part '{part}' of '{source.root}' has {what} that train has not: {listed(unknown)}.")


def _grouped(source: Source, group_by: str | bool | None) -> Source:
    if not group_by:
        return source
    if group_by is True or group_by == "group":
        if not any(sample.group for sample in source.samples):
            raise UserError(f"'{source.root}' has no groups: a list with a column 'group' gives them.")
        return source
    columns = sorted({name for sample in source.samples for name in sample.columns})
    if group_by not in columns:
        origin = " Groups come from a column of a list, or from folders within the class folders."
        known = f" There is {listed(columns)}." if columns else origin
        raise UserError(f"There is no column '{group_by}' to group by in '{source.root}'.{known}")
    samples = tuple(replace(each, group=each.columns.get(group_by) or None) for each in source.samples)
    return replace(source, samples=samples)


def _wanted(source: Source, val: float, test: float, folds: int | None) -> dict[str, float]:
    """The parts that are to be cut from what is train or undecided."""
    undecided = [sample.path for sample in source.samples if sample.split is None]
    if not undecided and "train" not in source.parts:
        raise UserError(f"'{source.root}' has no train part, only {listed(source.parts)}.")
    if "val" in source.parts:
        if undecided:
            raise UserError(f"'{source.root}' has a val part, but {listed(undecided, 3)} has no part. Give each one.")
        if folds:
            raise UserError(f"'{source.root}' has its own val part; `folds` would mix it with train.")
    fractions = {"val": val, "test": test}
    return {part: share for part, share in fractions.items() if share and part not in source.parts}


def _cut(
    samples: Sequence[Sample], fractions: dict[str, float], seed: int, folds: int | None, fold: int | None
) -> list[Sample]:
    numbers = [number for number, each in enumerate(samples) if each.split in (None, "train")]
    pool = [samples[number] for number in numbers]
    together = units([str(each.sha256) for each in pool], [str(each.label) for each in pool], [e.group for e in pool])
    bins = allot(together, fractions, seed=seed, folds=folds or 0)
    cut = list(samples)
    for place, bin_ in bins.items():
        part = "val" if bin_ == f"fold {fold}" else bin_ if bin_ in PARTS else "train"
        cut[numbers[place]] = replace(pool[place], split=part)
    return cut


def _say_what_is_odd(source: Source) -> None:
    alone = sorted(set(source.classes) - {sample.label for sample in source.part("val")})
    if alone and source.part("val"):
        log(f"val has no image of {listed(alone, 5)}, so nothing can be said of how well that is learned")
    copies: dict[str, list[Sample]] = defaultdict(list)
    for sample in source.samples:
        copies[str(sample.sha256)].append(sample)
    several = [each for each in copies.values() if len(each) > 1]
    torn = [each for each in several if len({sample.label for sample in each}) > 1]
    if torn:
        log(f"{counted(len(torn), 'image')} under two labels, such as {_pair(torn[0])}: see `resnets data check`")
    leaks = [each for each in several if len({sample.split for sample in each}) > 1]
    if leaks:
        log(f"{counted(len(leaks), 'image')} in two parts, such as {_pair(leaks[0])}: results will look too good")


def _say_torn_groups(source: Source) -> None:
    splits: dict[str, set[str | None]] = defaultdict(set)
    for sample in source.samples:
        if sample.group:
            splits[sample.group].add(sample.split)
    if torn := sorted(group for group, found in splits.items() if len(found) > 1):
        log(
            f"warning: {counted(len(torn), 'group')} with images in more than one split ({listed(torn, 3)}): each stays where "
            "the data or the weights have it, so that results may look too good"
        )


def _pair(copies: Sequence[Sample]) -> str:
    return f"'{copies[0].path}' and '{copies[-1].path}'"


def _key(source: Source, sample: Sample) -> str:
    """The path as it stands in the file: relative to the source if it lies in it, so that the data may be moved."""
    path, root = os.path.abspath(sample.path), os.path.abspath(source.root)
    inside = os.path.relpath(path, root) if os.path.commonpath([path, root]) == root else path
    return Path(inside).as_posix()


def _rows(path: Path) -> dict[str, dict[str, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"Cannot read the split '{path}': {error.strerror}.") from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = {row.get("path") or "": row for row in reader}
    except csv.Error as error:
        raise UserError(f"'{path}' is no split file: {error}.") from error
    if tuple(reader.fieldnames or ()) != COLUMNS or not all(row["split"] in PARTS for row in rows.values()):
        raise UserError(f"'{path}' is no split file; `resnets data split DIR --out {path.name}` makes one.")
    return {key: {**row, "label": composed(row["label"])} for key, row in rows.items()}
