"""The images on which the loss of an int8 model is measured: each content once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.split import lineage
from resnets.errors import UserError
from resnets.export.quantization import calibration_images
from resnets.message_format import pluralize
from resnets.tasks.evaluation import evaluation_notices, evaluation_split
from resnets.tasks.evaluation.evaluation_split import ALL, EvaluationSplit
from resnets.tasks.trained_model import TrainedModel


@dataclass(frozen=True)
class GateImages:
    """The images of the gate.

    Attributes:
        split: the images, with the hashes of their files, and which part of the data they are.
        copies: how many others were left out since they are copies of these.
        notices: what the weights have seen of them, copies included.
    """

    split: EvaluationSplit
    copies: int
    notices: tuple[str, ...]

    @property
    def samples(self) -> Sequence[Sample]:
        return self.split.samples

    def in_words(self) -> str:
        left_out = f"; {pluralize(self.copies, 'image')} left out as copies of others" if self.copies else ""
        return (
            f"gate: {pluralize(len(self.samples), 'image')} of {split_name(self.split)} ({self.split.reason}){left_out}"
        )

    def to_dict(self) -> dict[str, Any]:
        values = {"images": len(self.samples), "split": self.split.name, "left_out_as_copies": self.copies}
        digest = calibration_images.list_sha256(self.samples)
        return {**values, "sha256": digest, "notices": list(self.notices)}


def choose(
    dataset: Dataset, location: str | Path, file: Path, model: TrainedModel, *, is_validation: bool
) -> GateImages:
    """The images of test, else val, of the data or of the run.

    Args:
        location: of the dataset; for messages.
        file: the checkpoint, whose model is `model`.
        is_validation: whether the data are there for the gate alone, which then takes all of them where they are not split.

    Raises:
        UserError: the images are those of the calibration.
    """
    chosen = evaluation_split.choose_split(dataset, file, model.provenance)
    if chosen.name == ALL and not is_validation:
        raise UserError(
            f"'{location}' has no test and no val split, and a loss is not measured on images of the calibration. Give the "
            "images to measure it on by `validation`."
        )
    chosen = replace(chosen, samples=lineage.with_sha256(chosen.samples))
    samples = without_copies(chosen.samples)
    copies = len(chosen.samples) - len(samples)
    return GateImages(replace(chosen, samples=samples), copies, tuple(_notices(chosen, file, model)))


def without_copies(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The first sample of each content, with a label where one of them has one; those that cannot be read are kept.

    An interval counts images as independent, and copies are not.
    """
    first: dict[str, int] = {}
    kept = []
    digests = lineage.sha256_of_samples(samples)
    for index, (sample, digest) in enumerate(zip(samples, digests, strict=True)):
        if digest is None:
            kept.append(index)
        elif digest not in first or (samples[first[digest]].label is None and sample.label is not None):
            first[digest] = index
    kept = sorted([*kept, *first.values()])
    return samples if len(kept) == len(samples) else tuple(samples[index] for index in kept)


def split_name(chosen: EvaluationSplit) -> str:
    """The part of the data, for messages."""
    return "the whole data" if chosen.name == ALL else f"the {chosen.name} split"


def _notices(chosen: EvaluationSplit, file: Path, model: TrainedModel) -> list[str]:
    notices = evaluation_notices.training_notices([(file.name, lineage.lineage_of(file, model.provenance))], chosen)
    if selected := evaluation_split.num_selected_on(file, chosen.samples, model.provenance):
        images = f"{selected:,} of the {len(chosen.samples):,} images of the gate"
        notices.append(f"{evaluation_notices.describe_selection(model.task, images)}; other images may lose more")
    return notices
