"""Which images weights were trained on, by the content of the files, over all runs that led to the weights.

A run directory has it in two files: `split.csv` has the images of the run itself, `lineage.json` those of the weights that
it began from (including their own lineage). Of weights outside a run directory it is not known, and messages say so.
"""

import csv
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resnets.atomic_write import write_text
from resnets.data.datasets import read_shards
from resnets.data.datasets.dataset import SPLIT_FILE, SPLITS, IndexedSamples, Sample
from resnets.data.loading.hash_files import THREADS
from resnets.data.loading.thread_pool import call_with_timeout, ordered_map
from resnets.errors import UserError
from resnets.hashing import sha256

PACKAGE = Path(__file__).resolve().parents[2]
LINEAGE_FILE = "lineage.json"
AHEAD = 64  # files that are hashed before they are asked for
# The training images of the weights in the package, by the end of their name.
BUNDLED_TRAINING_SETS = {
    "cifar10": "the 50,000 training images of CIFAR-10",
    "digit_scenes": "the 1,200 training images of the built-in digit-scenes",
}


@dataclass(frozen=True)
class Lineage:
    """What is known of the images that weights were trained on."""

    # The SHA-256 of every image that the weights were trained on, in the newest run and in those before it.
    train: frozenset[str] = frozenset()
    # By SHA-256, the split in which an image was in the newest run.
    splits: Mapping[str, str] = field(default_factory=dict)
    gap: str = ""  # what is not known, as the end of a sentence; empty if all is known

    def count_seen(self, samples: Sequence[Sample]) -> int | None:
        """The number of these images that the weights were trained on; None if it is not known of any of them.

        Images that cannot be read do not count.
        """
        if self.gap and not self.train:
            return None
        return sum(digest in self.train for digest in sha256_of_samples(samples)) if self.train else 0

    def seen_message(self, samples: Sequence[Sample], images: str, weights: str) -> str:
        """A sentence on how many of the samples the weights were trained on; empty if it is known that it is none.

        Args:
            images: the samples as text, such as "validation images".
            weights: the weights as text, such as "the initial weights".
        """
        count = self.count_seen(samples)
        if count:
            more = f", and perhaps more ({self.gap})" if self.gap else ""
            used = f"{count:,} of the {len(samples):,} {images} were used to train {weights}{more}"
            return f"{used}: expect lower accuracy on other images"
        if count is None or self.gap:
            return f"whether some of the {images} were used to train {weights} is not known: {self.gap}"
        return ""


def lineage_of(checkpoint: Path, provenance: Mapping[str, Any] | None = None) -> Lineage:
    """The lineage of the weights in a file, from the run directory that it is in.

    Args:
        provenance: that of the checkpoint; with it a split file of another run is not taken for its own.
    """
    path, gap = find_split_record(checkpoint, provenance)
    if path is None:
        return Lineage(gap=gap)
    run, origin = path.parent, provenance or {}
    if path.name == read_shards.MANIFEST:
        splits, gap = _splits_of_shards(run)
    else:
        rows = csv.DictReader(path.read_text("utf-8", errors="surrogateescape").splitlines())
        splits, gap = {row["sha256"]: row["split"] for row in rows if row.get("sha256") and row.get("split")}, ""
    parent = read_parent_lineage(run, has_initial_weights="parent_sha256" in (origin or _environment(run)))
    train = {digest for digest, split in splits.items() if split == "train"} | parent.train
    return Lineage(frozenset(train), splits, gap or parent.gap)


def find_run_dir(checkpoint: Path) -> Path | None:
    """The run directory that a file is in: RUN for RUN/weights/NAME where RUN has a recipe.toml; else None."""
    for file in (checkpoint, checkpoint.resolve()):
        if file.parent.name == "weights" and (file.parent.parent / "recipe.toml").is_file():
            return file.parent.parent
    return None


def find_split_record(checkpoint: Path, provenance: Mapping[str, Any] | None = None) -> tuple[Path | None, str]:
    """The file of its run directory with the split that weights were trained with: `split.csv`, or `shards.json` for shards.

    Args:
        provenance: that of the checkpoint; with it a file that was copied into the directory of another run is recognized.

    Returns:
        The file and ""; or None and why there is none, as the end of a sentence.
    """
    run, origin = find_run_dir(checkpoint), provenance or {}
    paths = [run / name for name in (read_shards.MANIFEST, SPLIT_FILE) if (run / name).is_file()] if run else []
    if not paths or (origin and "split_sha256" not in origin):
        return None, _why_unknown(checkpoint, origin)
    if origin and origin["split_sha256"] != sha256(paths[0]):
        return None, f"'{paths[0]}' is not the split that these weights were trained with"
    return paths[0], ""


def _splits_of_shards(run: Path) -> tuple[dict[str, str], str]:
    """The split of each image, by its SHA-256, of the shards that a run read, and why that is not known, if so.

    The run keeps a copy of their shards.json; the hashes of the images are in the index of the shards themselves.
    """
    try:
        recipe = tomllib.loads((run / "recipe.toml").read_text("utf-8"))
        root = Path(_environment(run).get("data") or recipe["data"]["location"]).expanduser()
        unchanged = (root / read_shards.MANIFEST).read_bytes() == (run / read_shards.MANIFEST).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return {}, "the shards that they were trained on were moved or removed"
    if not unchanged:
        return {}, f"the shards in '{root}' are no longer those that they were trained on"
    try:
        samples = read_shards.read(root).samples
    except UserError as error:
        return {}, f"the shards that they were trained on cannot be read: {str(error).rstrip('.')}"
    assert isinstance(samples, IndexedSamples)
    splits: dict[str, str] = {}
    for split in reversed(SPLITS):  # an image in several splits counts as one of train
        splits |= dict.fromkeys(samples.subset(split).sha256s(), split)
    return splits, ""


def _why_unknown(checkpoint: Path, origin: Mapping[str, Any]) -> str:
    if checkpoint.resolve().is_relative_to(PACKAGE):
        images = BUNDLED_TRAINING_SETS.get(checkpoint.stem.rpartition(".")[2], "images that its documentation names")
        return f"'{checkpoint.stem}' is part of the package, trained on {images}, whose files it does not list"
    if "published" in origin:
        return f"they are the published weights {origin['published']}, without a list of their training images"
    if "converted_from" in origin:
        return f"they were converted from '{origin['converted_from']}', which has no list of its training images"
    if "split_sha256" in origin:
        return "the file is outside its run directory, whose split.csv is needed"
    return "their origin is not recorded"


def _environment(run: Path) -> Mapping[str, Any]:
    try:
        content = json.loads((run / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_parent_lineage(run: Path, *, has_initial_weights: bool) -> Lineage:
    """The lineage of the weights that a run began from, as `write_parent_lineage` left it in the run directory."""
    try:
        content = json.loads((run / LINEAGE_FILE).read_text("utf-8"))
        return Lineage(frozenset(content["train"]), gap=str(content["gap"]))
    except (OSError, ValueError, KeyError, TypeError):
        unknown = "the run began from other weights, whose training images it did not record"
        return Lineage(gap=unknown if has_initial_weights else "")


def write_parent_lineage(run: Path, lineage: Lineage, metadata: Mapping[str, Any] | None = None) -> None:
    """Write the lineage of the weights that a run begins from into its directory, with `metadata` about these weights."""
    content = {"gap": lineage.gap, "weights": dict(metadata or {}), "train": sorted(lineage.train)}
    write_text(run / LINEAGE_FILE, json.dumps(content, indent=0) + "\n")


def read_parent_metadata(run: Path) -> dict[str, Any]:
    """The metadata that `write_parent_lineage` wrote; empty if there is none."""
    try:
        return dict(json.loads((run / LINEAGE_FILE).read_text("utf-8"))["weights"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def with_sha256(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples with the SHA-256 of their files filled in, so that no file is read again for it."""
    if isinstance(samples, IndexedSamples):
        return samples
    pairs = zip(samples, sha256_of_samples(samples), strict=True)
    return tuple(each if each.sha256 == digest else replace(each, sha256=digest) for each, digest in pairs)


def sha256_of_samples(samples: Sequence[Sample]) -> Iterator[str | None]:
    """The SHA-256 of each image's file, in order; None if it cannot be read. Only what is not known is read."""
    if isinstance(samples, IndexedSamples):
        return samples.sha256s()
    if all(sample.sha256 for sample in samples):
        return (sample.sha256 for sample in samples)
    return ordered_map(_hash_sample, samples, workers=THREADS, ahead=AHEAD)


def sha256_of_sample(sample: Sample) -> str | None:
    """As `sha256_of_samples`, of one image."""
    return sample.sha256 or call_with_timeout(_hash_sample, sample)


def _hash_sample(sample: Sample) -> str | None:
    try:
        return sample.sha256 or sha256(sample.path)
    except OSError:
        return None


def unchanged_images(
    checkpoint: Path, provenance: Mapping[str, Any] | None, split: str, count: int
) -> tuple[list[str], str]:
    """At most `count` images, evenly distributed, of a split of the run that weights come from.

    Returns:
        Paths of images whose content is that of the run, and ""; or no paths and why, as the end of a sentence.
    """
    record, gap = find_split_record(checkpoint, provenance)
    if record is None:
        return [], gap
    try:
        recipe = tomllib.loads((record.parent / "recipe.toml").read_text("utf-8"))
        root = Path(_environment(record.parent).get("data") or recipe["data"]["location"]).expanduser()
        samples = _samples_of_split(record, root, split)
    except (OSError, ValueError, KeyError, TypeError):  # UserError is a ValueError
        return [], "the images of its run cannot be found"
    step = max(len(samples) / count, 1.0)
    chosen = [samples[int(index * step)] for index in range(min(count, len(samples)))]
    if record.name == SPLIT_FILE:
        chosen = [each for each in chosen if _hash_sample(replace(each, sha256=None)) == each.sha256]
    return [each.path for each in chosen], "" if chosen else f"the {split} images of its run are not in '{root}'"


def _samples_of_split(record: Path, root: Path, split: str) -> Sequence[Sample]:
    """The samples of a split as `record` has them, of data in `root`; none of shards that have changed."""
    if record.name == read_shards.MANIFEST:
        if (root / read_shards.MANIFEST).read_bytes() != record.read_bytes():
            return []
        samples = read_shards.read(root).samples
        assert isinstance(samples, IndexedSamples)
        return samples.subset(split)
    rows = csv.DictReader(record.read_text("utf-8", errors="surrogateescape").splitlines())
    return [Sample(str(root / row["path"]), sha256=row["sha256"]) for row in rows if row["split"] == split]
