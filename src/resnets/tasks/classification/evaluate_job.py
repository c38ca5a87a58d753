"""From the words of `resnets evaluate` to predictions, figures and files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.data.datasets import open_dataset, read_shards, walk_folders
from resnets.data.datasets.dataset import remap_classes
from resnets.data.split import seen_in_training
from resnets.data.split.seen_in_training import Lineage
from resnets.errors import UserError
from resnets.progress import log
from resnets.tasks.classification import calibration, load, metrics, test_time_augmentation
from resnets.tasks.classification.compare import Comparison, compare
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.inputs import evaluation_split
from resnets.tasks.inputs.evaluation_split import Part
from resnets.weights import local_path, resolve

CHOSE_BOTH = "these images chose the epoch and the temperature"


@dataclass(frozen=True)
class Model:
    """One or, as an ensemble, several checkpoints, what they said, and how each looked at an image."""

    checkpoints: tuple[str, ...]
    predictions: Predictions
    protocol: str

    def figures(self) -> dict[str, Any]:
        return {
            "checkpoints": list(self.checkpoints),
            **self.predictions.computed,
            "metrics": metrics.summarize(self.predictions),
            "per_class": metrics.per_class(self.predictions),
        }


@dataclass(frozen=True)
class Evaluation:
    """What was judged, on which images and how. Two models where they are compared, else one.

    `in_sample` says that some of the images chose something of a model, and `notices` in whole sentences what and how many.
    """

    data: str
    part: Part
    models: tuple[Model, ...]
    comparison: Comparison | None = None
    in_sample: bool = False
    not_used: str = ""  # of the data, in a line
    notices: tuple[str, ...] = ()  # what has to be known before the figures are believed, in sentences

    @property
    def protocol(self) -> str:
        """How the models looked at each image; once where all did the same."""
        return _together([model.protocol for model in self.models])

    @property
    def _how(self) -> dict[str, Any]:
        how: dict[str, Any] = {"not_used": self.not_used} if self.not_used else {}
        return how | {"in_sample": self.in_sample, "notices": list(self.notices)}

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: `metrics` and `per_class` of one model, or `models` and `comparison` of two."""
        head = {"data": self.data, "split": self.part.name, "split_from": self.part.reason, "protocol": self.protocol}
        head |= self._how
        figures = [model.figures() for model in self.models]
        if self.comparison is None:
            return {**head, **figures[0]}
        figures = [{**each, "protocol": model.protocol} for each, model in zip(figures, self.models, strict=True)]
        return {**head, "models": figures, "comparison": self.comparison.to_dict()}


def run(
    models: Sequence[str],
    data: str | Path,
    *,
    split: str | None = None,
    split_file: str | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    batch: int = 32,
    workers: int | None = None,
    crops: int = 1,
    scales: Sequence[int] = (),
    pairwise: bool = False,
    calibrate: bool = False,
    device: str = "cpu",
    backend: str = "auto",
    precision: str = "fp32",
    on_bad: str = "error",
) -> Evaluation:
    """Judge checkpoints on labeled images: several as an ensemble, or with `pairwise` two against each other.

    With `calibrate`, the temperature of the one checkpoint is fitted to these images and stored in its file.

    Raises:
        UserError: something named does not exist, or does not fit the rest.
        JobError: images cannot be read; all of them are named.
    """
    if pairwise and len(models) != 2:
        raise UserError(f"`compare` needs two checkpoints before the data; received {len(models)}.")
    if calibrate and (len(models) != 1 or crops != 1 or scales):
        raise UserError("`calibrate` fits the temperature of one checkpoint on plain images: no `crops`, no `scales`.")
    data = str(data)
    _check_order(models, data)
    files = [resolve.locate(model) for model in models]
    if calibrate:
        calibration.check(files[0])
    classifiers = [load.load(file, device=device, backend=backend, precision=precision) for file in files]
    for file, each in zip(files, classifiers, strict=True):
        _check_named(file, each, data)
    dataset = remap_classes(open_dataset.read(data, on_inaccessible=on_bad), classifiers[0].classes)
    prefer = ("val",) if calibrate else ("test", "val")
    lineages = [
        (str(model), seen_in_training.lineage_of(file, each.provenance))
        for model, file, each in zip(models, files, classifiers, strict=True)
    ]
    part, known = None, any(each.train for _, each in lineages)  # otherwise nothing asks for the images' content
    if known and len(files) > 1 and split is None and split_file is None and val_fraction is None:
        if not {"test", "val"} & set(dataset.splits):
            dataset = replace(dataset, samples=seen_in_training.with_sha256(dataset.samples))
        part = evaluation_split.unseen(dataset, lineages)
    part = part or evaluation_split.choose(
        dataset, files[0], part=split, split_file=split_file, val_fraction=val_fraction, seed=seed, prefer=prefer
    )
    if known:
        part = replace(part, samples=seen_in_training.with_sha256(part.samples))
    _tell(part, split, calibrate)
    wanted = max(scales, default=0) or max(each.preprocess.shorter_side or 0 for each in classifiers)
    notices = [notice] if (notice := read_shards.upscale_warning(dataset, wanted)) else []
    notices += _seen(lineages, part)
    groups = [[each] for each in classifiers] if pairwise else [classifiers]
    made = [
        load.evaluate(group, part.samples, batch=batch, workers=workers, crops=crops, scales=scales, on_bad=on_bad)
        for group in groups
    ]
    if calibrate:
        made = [_calibrated(files[0], made[0], data, part)]
    names = [(str(file),) for file in files] if pairwise else [tuple(map(str, files))]
    protocols = [
        _together([test_time_augmentation.protocol(each.preprocess, crops, scales) for each in group])
        for group in groups
    ]
    selected = [evaluation_split.selected(file, part.samples) for file in files]
    chosen = _in_sample(files, selected, part, calibrate)
    known_by = [
        None if seen is None and not chose else (seen or 0) + chose
        for seen, chose in zip((each.count_seen(part.samples) for _, each in lineages), selected, strict=True)
    ]
    return Evaluation(
        data=data,
        part=part,
        models=tuple(Model(*each) for each in zip(names, made, protocols, strict=True)),
        comparison=compare(made[0], made[1], (known_by[0], known_by[1])) if pairwise else None,
        not_used=walk_folders.describe_unused(dataset.unused, len(made[0].skipped)),
        in_sample=bool(chosen),
        notices=(*notices, *chosen),
    )


def check_place(out: str | Path) -> None:
    """Refuse a folder that `write` could not use, before the work.

    Raises:
        UserError: it is the folder of a training run, whose own files would be replaced.
        JobError: it cannot be written to.
    """
    if (Path(out) / "recipe.toml").exists():
        raise UserError(f"'{out}' is a run folder with results of its own. Choose another `out`, such as {out}/test.")
    atomic_write.check_folder_writable(out)


def write(evaluation: Evaluation, out: str | Path) -> list[tuple[Path, Predictions]]:
    """Write `metrics.json`, `per_class.csv` and `predictions.csv`; two models have the folders `a` and `b` in `out`.

    Returns:
        Each folder, and the predictions to draw in it.

    Raises:
        UserError: `out` is the folder of a training run, whose own files would be replaced.
        JobError: `out` cannot be written to.
    """
    check_place(out)
    out = Path(out)
    folders = [out] if evaluation.comparison is None else [out / "a", out / "b"]
    for folder, model in zip(folders, evaluation.models, strict=True):
        how = {"split": evaluation.part.name, "data": evaluation.data, "protocol": model.protocol, **evaluation._how}
        how |= model.predictions.computed
        figures = {**metrics.summarize(model.predictions), **how, "checkpoints": list(model.checkpoints)}
        _write_json(folder / "metrics.json", figures)
        metrics.write_per_class(folder / "per_class.csv", model.predictions)
        model.predictions.write_csv(folder / "predictions.csv")
    if evaluation.comparison is not None:
        _write_json(out / "comparison.json", evaluation.to_dict()["comparison"])
    return [(folder, model.predictions) for folder, model in zip(folders, evaluation.models, strict=True)]


def _seen(models: Sequence[tuple[str, Lineage]], part: Part) -> list[str]:
    """Which models learned from images that judge them, or where that is not known: a sentence each."""
    what = "" if part.name == evaluation_split.ALL else f"'{part.name}'"
    found = [each.seen_message(part.samples, f"'{name}'", what).replace("  ", " ") for name, each in models]
    return [notice for notice in found if notice]


def _check_order(models: Sequence[str | Path], data: str) -> None:
    """Refuse data in the place of a checkpoint, and a checkpoint in the place of the data."""
    images = [str(each) for each in models if not local_path.is_weights(each) and open_dataset.contains_images(each)]
    swapped = local_path.is_weights(data)
    files = [str(each) for each in models if str(each) not in images] + [data] * swapped
    shown = " ".join(map(shlex.quote, files)) or "CHECKPOINT"
    if not images and swapped:
        raise UserError(f"'{data}' holds weights, not images. Name the images last: resnets evaluate {shown} DATA")
    if images and swapped:
        first = shlex.quote(images[0])
        raise UserError(
            f"The images come last: resnets evaluate {shown} {first}; received '{images[0]}' before '{data}'."
        )
    if images:
        raise UserError(
            f"'{images[0]}' is a folder of images, and so is the last word '{data}'. Checkpoints are judged on one dataset at "
            f"a time: resnets evaluate {shown} {shlex.quote(images[0])}"
        )


def _check_named(file: Path, classifier: load.Classifier, data: str) -> None:
    """Labels are matched by name, so a model without names has nothing to match."""
    if not classifier.named:
        raise UserError(
            f"'{file}' has no names for its {len(classifier.classes)} outputs, so they cannot be matched with the labels of "
            f"'{data}'. Write the names into a text file, one in each line in the order of the outputs, and name it: "
            f"resnets weights convert '{file}' --to resnets --out NAMED.safetensors --class-names FILE"
        )


def _together(protocols: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(protocols))


def _in_sample(files: Sequence[Path], selected: Sequence[int], part: Part, calibrate: bool) -> list[str]:
    """What the images have chosen of the models that they are to judge, a sentence each."""
    total, said = len(part.samples), []
    for file, count in zip(files, selected, strict=True):
        which = CHOSE_BOTH if count == total else CHOSE_BOTH.replace("these", f"{count:,} of these {total:,}")
        if count:
            said.append(f"{which} of '{file}'; its figures are in-sample: expect less on other images")
    if calibrate and not said:
        said.append(
            f"the temperature of '{files[0]}' is fitted on these images: expect a larger calibration error on others"
        )
    return said


def _tell(part: Part, asked: str | None, calibrate: bool) -> None:
    names = {evaluation_split.ALL: "all images", evaluation_split.UNSEEN: "unseen images"}
    what = names.get(part.name, f"the part '{part.name}'")
    log(f"judged on {what}, {len(part.samples):,} ({part.reason})")
    if calibrate and part.name != "val":
        if asked is None:
            raise UserError(
                "`calibrate` needs images that the model was not trained on, and there is no val part. Name the part "
                "with `split`, or with `split=all` where all are new to the model."
            )
        log(f"warning: a temperature fitted on '{part.name}' makes the figures on the same images look better")


def _calibrated(file: Path, predictions: Predictions, data: str, part: Part) -> Predictions:
    temperature = calibration.calibrate(file, predictions, {"data": data, "split": part.name})
    after = replace(predictions, temperature=temperature)
    was, now = metrics.summarize(predictions), metrics.summarize(after)
    log(
        f"temperature {temperature:.3f} stored in '{file}' (was {predictions.temperature:.3f}): "
        f"loss {was['loss']:.4f} -> {now['loss']:.4f}, calibration error {100 * was['ece']:.1f} % -> {100 * now['ece']:.1f} %"
    )
    return after


def _write_json(path: Path, value: dict[str, Any]) -> None:
    atomic_write.write_text(path, json.dumps(value, indent=2, ensure_ascii=True) + "\n")
