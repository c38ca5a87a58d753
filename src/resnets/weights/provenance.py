"""Provenance of weights: origin, license and training data, including those of the weights that a run started from.

A run stores the provenance of its initial weights under "parent", which may have a "parent" of its own. So the license and the
published name reach the model card of the last of several runs.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resnets.weights.hub import bundled
from resnets.weights.hub.catalog import PublishedWeights

PARENT = "parent"
UNKNOWN = "unknown"
_INHERITED = ("published", "address", "license", "converted_from", "format", "parent_sha256", "recipe",
              "split_sha256", "train_images", PARENT)  # fmt: skip


def of_published(entry: PublishedWeights) -> dict[str, Any]:
    """The provenance of published weights; without a license if the publisher states none."""
    license_entry = {"license": entry.license} if entry.license else {}
    return {"published": entry.name, "address": entry.url, **license_entry}


def of_file(provenance: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The provenance of a checkpoint; that of a file in the package is completed."""
    name = path.name.removesuffix(bundled.SUFFIX)
    if bundled.path_of(name) != path:
        return dict(provenance)
    return {"published": name, "license": bundled.LICENSE, **provenance}


def inherited(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that a run stores about its initial weights."""
    return {key: provenance[key] for key in _INHERITED if provenance.get(key)}


def ancestors(provenance: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The provenance of the weights that these were trained from, the nearest first."""
    while isinstance(provenance := provenance.get(PARENT) or {}, Mapping) and provenance:
        yield provenance


def license_(provenance: Mapping[str, Any]) -> str:
    """The license of the checkpoint, else that of its nearest ancestor with one, else "unknown"."""
    for facts in (provenance, *ancestors(provenance)):
        if isinstance(license_entry := facts.get("license"), str) and license_entry:
            return license_entry
    return UNKNOWN


def base_model(provenance: Mapping[str, Any]) -> str | None:
    """The Hub's name of the nearest ancestor that is there, such as "microsoft/resnet-50"."""
    for facts in (provenance, *ancestors(provenance)):
        address = facts.get("address")
        if isinstance(address, str) and "huggingface.co/" in address:
            names = address.partition("huggingface.co/")[2].split("/")
            if len(names) >= 2:
                return "/".join(names[:2])
    return None


def training_data(provenance: Mapping[str, Any]) -> list[str]:
    """What is known about the training images, a sentence for each training, the last one first."""
    lines = []
    for facts in (provenance, *ancestors(provenance)):
        count, split, published = (facts.get(key) for key in ("train_images", "split_sha256", "published"))
        own = [f"{count:,} training images"] if isinstance(count, int) else []
        own += [f"SHA-256 of the split: {split}"] if split else []
        if own:
            lines.append("; ".join(own))
        if published:  # they may have been trained further
            lines.append(f"the published weights {published}: see their publisher")
        elif not own and (file := facts.get("converted_from")):
            lines.append(f"a file of another library, {file}, which does not state them")
    return lines or [UNKNOWN]
