"""Where weights come from: what a checkpoint says of it, and what a run that begins from weights takes over.

A run keeps the facts of the weights that it began from under "parent", which has a "parent" of its own where they came from a
run, too. So the license and the published name reach the model card of the last of several runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resnets.weights.hub import bundled
from resnets.weights.hub.catalog import Published

PARENT = "parent"
UNKNOWN = "unknown"
_INHERITED = ("published", "address", "license", "converted_from", "format", "parent_sha256", "recipe",
              "split_sha256", "train_images", PARENT)  # fmt: skip


def of_published(entry: Published) -> dict[str, Any]:
    """The facts about published weights; without a license where the publisher gives none."""
    given = {"license": entry.license} if entry.license else {}
    return {"published": entry.name, "address": entry.address, **given}


def of_file(provenance: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The facts of a checkpoint, with those of the files that come with the package."""
    name = path.name.removesuffix(bundled.SUFFIX)
    if bundled.place(name) != path:
        return dict(provenance)
    return {"published": name, "license": bundled.LICENSE, **provenance}


def inherited(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a run keeps of the facts of the weights that it begins from."""
    return {key: provenance[key] for key in _INHERITED if provenance.get(key)}


def ancestors(provenance: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The facts of the weights that these began from, the nearest first."""
    while isinstance(provenance := provenance.get(PARENT) or {}, Mapping) and provenance:
        yield provenance


def license_(provenance: Mapping[str, Any]) -> str:
    """As the checkpoint gives it, or else as the nearest weights that it began from; "unknown" where none does."""
    for facts in (provenance, *ancestors(provenance)):
        if isinstance(given := facts.get("license"), str) and given:
            return given
    return UNKNOWN


def base_model(provenance: Mapping[str, Any]) -> str | None:
    """The Hub's name of the nearest weights that lie there: "microsoft/resnet-50"."""
    for facts in (provenance, *ancestors(provenance)):
        address = facts.get("address")
        if isinstance(address, str) and "huggingface.co/" in address:
            parts = address.partition("huggingface.co/")[2].split("/")
            if len(parts) >= 2:
                return "/".join(parts[:2])
    return None


def training_data(provenance: Mapping[str, Any]) -> list[str]:
    """What is known of the images that the weights learned from, a sentence for each training, the last one first."""
    lines = []
    for facts in (provenance, *ancestors(provenance)):
        count, split, published = (facts.get(key) for key in ("train_images", "split_sha256", "published"))
        own = [f"{count:,} training images"] if isinstance(count, int) else []
        own += [f"SHA-256 of the split: {split}"] if split else []
        if own:
            lines.append("; ".join(own))
        if published:  # such a file may have been trained further
            lines.append(f"the published weights {published}: see what their publisher says")
        elif not own and (file := facts.get("converted_from")):
            lines.append(f"a file of another program, {file}, which does not say")
    return lines or [UNKNOWN]
