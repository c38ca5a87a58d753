"""Which images weights have learned from, found by the content of the files, over all runs that led to the weights.

A run folder says it in two files: `split.csv` has the images of the run itself, `lineage.json` those of the weights
that it began from (their own lineage included). Weights outside of a run folder say nothing, and that is said.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resnets.atomic_write import write_text
from resnets.data.datasets import read_shards
from resnets.data.datasets.dataset import SPLITS, IndexedSamples, Sample
from resnets.data.loading.hash_files import THREADS
from resnets.data.loading.thread_pool import call_with_timeout, ordered_map
from resnets.errors import UserError
from resnets.files import sha256

PACKAGE = Path(__file__).resolve().parents[2]
SPLIT_FILE, LINEAGE_FILE = "split.csv", "lineage.json"
AHEAD = 64  # files that are hashed before they are asked for


@dataclass(frozen=True)
class Lineage:
    """What is known of the images behind some weights.

    `splits` has, by SHA-256, the split in which an image was in the newest run. `train` holds the SHA-256 of every image
    that the weights learned from, in this run and in those before it. `gap` says in words what is not known; empty when
    all is.
    """

    train: frozenset[str] = frozenset()
    splits: Mapping[str, str] = field(default_factory=dict)
    gap: str = ""

    def seen(self, samples: Sequence[Sample]) -> int | None:
        """How many of the images the weights have learned from; None where that cannot be known for any of them.

        Images that cannot be read do not count.
        """
        if (isinstance(samples, IndexedSamples) and samples.sha256s() is None) or (self.gap and not self.train):
            return None
        return sum(digest in self.train for digest in digests(samples)) if self.train else 0

    def notice(self, samples: Sequence[Sample], who: str, what: str) -> str:
        """A sentence on how many of the images `who` has learned from; empty where it is none of them, and that is known."""
        count = self.seen(samples)
        if count:
            sure = f", and perhaps on more ({self.gap})" if self.gap else ""
            return (
                f"{who} learned from {count:,} of the {len(samples):,} {what} images{sure}: expect less on other images"
            )
        if count is None or self.gap:
            why = self.gap or "shards of an earlier version do not say from which files they were made"
            return f"whether {who} learned from some of the {what} images is not known: {why}"
        return ""


def of(checkpoint: Path, provenance: Mapping[str, Any] | None = None) -> Lineage:
    """The lineage of the weights in a file, by the run folder in which it lies.

    Args:
        provenance: that of the checkpoint; with it a split file of another run is not taken for its own.
    """
    run = checkpoint.parent.parent
    path, origin = run / SPLIT_FILE, provenance or {}
    if not path.is_file() and (run / read_shards.MANIFEST).is_file():
        path = run / read_shards.MANIFEST
    if not path.is_file() or (origin and "split_sha256" not in origin):  # another file may lie in a run folder
        return Lineage(gap=_reason(checkpoint, origin))
    content = path.read_bytes()
    if origin.get("split_sha256", hashlib.sha256(content).hexdigest()) != hashlib.sha256(content).hexdigest():
        return Lineage(gap=f"'{path}' is not the one by which these weights were trained")
    if path.name == read_shards.MANIFEST:
        splits, gap = _of_shards(run)
    else:
        rows = csv.DictReader(content.decode("utf-8", errors="surrogateescape").splitlines())
        splits, gap = {row["sha256"]: row["split"] for row in rows if row.get("sha256") and row.get("split")}, ""
    before = read(run, begun_from_weights="parent_sha256" in (origin or _environment(run)))
    train = {digest for digest, split in splits.items() if split == "train"} | before.train
    return Lineage(frozenset(train), splits, gap or before.gap)


def _of_shards(run: Path) -> tuple[dict[str, str], str]:
    """The split of each image, by its SHA-256, of the shards that a run read, and why that is not known, if so.

    The run keeps a copy of their shards.json; the hashes of the images stand in their own index, wherever they are now.
    """
    try:
        recipe = tomllib.loads((run / "recipe.toml").read_text("utf-8"))
        root = Path(_environment(run).get("data") or recipe["data"]["location"]).expanduser()
        same = (root / read_shards.MANIFEST).read_bytes() == (run / read_shards.MANIFEST).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return {}, "the shards that they were trained on are not where they were"
    if not same:
        return {}, f"the shards in '{root}' are no longer those that they were trained on"
    try:
        samples = read_shards.read(root).samples
    except UserError as error:
        return {}, f"the shards that they were trained on cannot be read: {str(error).rstrip('.')}"
    assert isinstance(samples, IndexedSamples)
    splits: dict[str, str] = {}
    for part in reversed(SPLITS):  # an image that is in several is one of train
        digests = samples.subset(part).digests()
        if digests is None:
            return {}, "shards of an earlier version do not say from which files they were made"
        splits |= dict.fromkeys(digests, part)
    return splits, ""


def _reason(checkpoint: Path, origin: Mapping[str, Any]) -> str:
    if checkpoint.resolve().is_relative_to(PACKAGE):
        return "they came with the package, without a list of their training images"
    if "published" in origin:
        return (
            f"they are the published weights {origin['published']}, which come without a list of their training images"
        )
    if "converted_from" in origin:
        return f"they were converted from '{origin['converted_from']}', which has no list of its training images"
    if "split_sha256" in origin:
        return "the file lies outside of its run folder, whose split.csv would tell"
    return "they come from elsewhere"


def _environment(run: Path) -> Mapping[str, Any]:
    try:
        content = json.loads((run / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read(run: Path, *, begun_from_weights: bool) -> Lineage:
    """The lineage of the weights that a run began from, as `write` left it in the run folder."""
    try:
        content = json.loads((run / LINEAGE_FILE).read_text("utf-8"))
        return Lineage(frozenset(content["train"]), gap=str(content["gap"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Lineage(gap="the run began from other weights, whose images it did not write down" * begun_from_weights)


def write(run: Path, lineage: Lineage, facts: Mapping[str, Any] | None = None) -> None:
    """Keep the lineage of the weights that a run begins from in its folder, and other facts about these weights."""
    content = {"gap": lineage.gap, "weights": dict(facts or {}), "train": sorted(lineage.train)}
    write_text(run / LINEAGE_FILE, json.dumps(content, indent=0) + "\n")


def facts(run: Path) -> dict[str, Any]:
    """The facts that `write` kept; empty where there are none."""
    try:
        return dict(json.loads((run / LINEAGE_FILE).read_text("utf-8"))["weights"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def hashed(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The images with the SHA-256 of their files filled in, so that nothing reads these again for it."""
    if isinstance(samples, IndexedSamples):
        return samples
    return tuple(
        each if each.sha256 == digest else replace(each, sha256=digest)
        for each, digest in zip(samples, digests(samples), strict=True)
    )


def digests(samples: Sequence[Sample]) -> Iterator[str | None]:
    """The SHA-256 of each image's file, in order; None where it cannot be read. Only what is not known is read."""
    if isinstance(samples, IndexedSamples):
        return samples.sha256s() or iter([None] * len(samples))
    if all(sample.sha256 for sample in samples):
        return (sample.sha256 for sample in samples)
    return ordered_map(_digest, samples, workers=THREADS, ahead=AHEAD)


def digest_of(sample: Sample) -> str | None:
    """As `digests`, of one image."""
    return sample.sha256 or call_with_timeout(_digest, sample)


def _digest(sample: Sample) -> str | None:
    try:
        return sample.sha256 or sha256(sample.path)
    except OSError:
        return None
