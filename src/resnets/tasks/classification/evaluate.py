"""Evaluate checkpoints on labeled images: one, an ensemble, or two against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.data.datasets import open_dataset, read_shards, walk_folders
from resnets.data.datasets.dataset import Dataset, remap_classes
from resnets.data.split import lineage
from resnets.data.split.lineage import Lineage
from resnets.errors import UserError
from resnets.progress import log
from resnets.tasks.classification import calibration, load_classifier, metrics, test_time_augmentation
from resnets.tasks.classification.compare import Comparison, Exposure, compare_predictions
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.inputs import evaluation_arguments, evaluation_split
from resnets.tasks.inputs.batching import check_options
from resnets.tasks.inputs.evaluation_split import EvaluationSplit
from resnets.weights import find_weights


@dataclass(frozen=True)
class EvaluatedModel:
    """One checkpoint or, as an ensemble, several; their predictions; and how each image was presented to them."""

    checkpoints: tuple[str, ...]
    predictions: Predictions
    protocol: str

    def results(self) -> dict[str, Any]:
        """The metrics of the model, as a whole and class by class, for JSON."""
        return {
            "checkpoints": list(self.checkpoints),
            **self.predictions.computed,
            "metrics": metrics.summarize(self.predictions),
            "per_class": metrics.per_class(self.predictions),
        }


@dataclass(frozen=True)
class Evaluation:
    """The results of one model or, where two are compared, of both.

    Attributes:
        data: the dataset, as it was named.
        split: the images that were evaluated.
        models: one, or the two that are compared.
        comparison: the paired test of two models; else None.
        in_sample: whether some of the images were used to select the epoch or the temperature of a model.
        not_used: files of the dataset that were left out, in one line.
        notices: sentences to read before the results, such as how many of the images a model was trained on.
    """

    data: str
    split: EvaluationSplit
    models: tuple[EvaluatedModel, ...]
    comparison: Comparison | None = None
    in_sample: bool = False
    not_used: str = ""
    notices: tuple[str, ...] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the (first) model, such as `top1` and `ece`; see `metrics.summarize`."""
        return metrics.summarize(self.models[0].predictions)

    @property
    def protocol(self) -> str:
        """How each image was presented to the models."""
        return _join_unique([model.protocol for model in self.models])

    @property
    def _remarks(self) -> dict[str, Any]:
        remarks: dict[str, Any] = {"not_used": self.not_used} if self.not_used else {}
        return remarks | {"in_sample": self.in_sample, "notices": list(self.notices)}

    def to_dict(self) -> dict[str, Any]:
        """The results for JSON: `metrics` and `per_class` of one model, or `models` and `comparison` of two."""
        head = {"data": self.data, "split": self.split.name, "split_from": self.split.reason, "protocol": self.protocol}
        head |= self._remarks
        results = [model.results() for model in self.models]
        if self.comparison is None:
            return {**head, **results[0]}
        results = [{**each, "protocol": model.protocol} for each, model in zip(results, self.models, strict=True)]
        return {**head, "models": results, "comparison": self.comparison.to_dict()}


def evaluate_checkpoints(
    checkpoints: Sequence[str | Path],
    data: str | Path,
    *,
    split: str | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    batch: int = 32,
    workers: int | None = None,
    crops: int = 1,
    scales: Sequence[int] = (),
    pairwise: bool = False,
    calibrate: bool = False,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "fp32",
    on_bad: str = "error",
) -> Evaluation:
    """Evaluate checkpoints on labeled images: several as an ensemble or, with `pairwise`, two against each other.

    With `calibrate`, the temperature of the one checkpoint is fitted to these images and stored in its file.

    Raises:
        UserError: a file does not exist, or an argument does not fit the rest.
        JobError: images cannot be read; all of them are named.
    """
    data = str(data)
    check_options(batch, workers, on_bad)
    _check_arguments(checkpoints, crops, scales, calibrate)
    evaluation_arguments.check_order(checkpoints, data)
    files = [find_weights.find_file(checkpoint) for checkpoint in checkpoints]
    if calibrate:
        calibration.check_not_bundled(files[0])
    classifiers = [load_classifier.load(file, device, backend=backend, precision=precision) for file in files]
    for file, classifier in zip(files, classifiers, strict=True):
        load_classifier.check_class_names(file, classifier, data)
        test_time_augmentation.check(classifier.model, classifier.preprocess, crops, scales)
    dataset = remap_classes(open_dataset.read(data, on_inaccessible=on_bad), classifiers[0].class_names)
    lineages = [
        (str(checkpoint), lineage.lineage_of(file, classifier.provenance))
        for checkpoint, file, classifier in zip(checkpoints, files, classifiers, strict=True)
    ]
    provenance = [classifier.provenance for classifier in classifiers]
    chosen = _choose_split(dataset, files, provenance[0], lineages, split, split_file, val_fraction, seed, calibrate)
    input_size = max(scales, default=0) or max(each.preprocess.shorter_side or 0 for each in classifiers)
    notices = [notice] if (notice := read_shards.upscale_warning(dataset, input_size)) else []
    notices += _training_notices(lineages, chosen)
    groups = [[each] for each in classifiers] if pairwise else [classifiers]
    predictions = [
        predict_samples(group, chosen.samples, batch=batch, workers=workers, crops=crops, scales=scales, on_bad=on_bad)
        for group in groups
    ]
    if calibrate:
        predictions = [_calibrated(files[0], predictions[0], data, chosen)]
    names = [(str(file),) for file in files] if pairwise else [tuple(map(str, files))]
    protocols = [
        _join_unique([test_time_augmentation.protocol(each.preprocess, crops, scales) for each in group])
        for group in groups
    ]
    selected = [
        evaluation_split.num_selected_on(file, chosen.samples, origin)
        for file, origin in zip(files, provenance, strict=True)
    ]
    in_sample = _in_sample_notices(files, selected, chosen, calibrate)
    exposures = [
        Exposure(past.count_seen(chosen.samples), count) for (_, past), count in zip(lineages, selected, strict=True)
    ]
    return Evaluation(
        data=data,
        split=chosen,
        models=tuple(map(EvaluatedModel, names, predictions, protocols)),
        comparison=compare_predictions(predictions[0], predictions[1], *exposures) if pairwise else None,
        not_used=walk_folders.describe_unused(dataset.unused, len(predictions[0].skipped)),
        in_sample=bool(in_sample),
        notices=(*notices, *in_sample),
    )


def _check_arguments(checkpoints: Sequence[str | Path], crops: int, scales: Sequence[int], calibrate: bool) -> None:
    """Refuse what no model can do, before any file is read."""
    test_time_augmentation.check_arguments(crops, scales)
    if calibrate and (len(checkpoints) != 1 or crops != 1 or scales):
        raise UserError(
            "`calibrate` fits the temperature of one checkpoint to plain images, without `crops` and `scales`."
        )


def _choose_split(
    dataset: Dataset,
    files: Sequence[Path],
    provenance: Mapping[str, Any],
    lineages: Sequence[tuple[str, Lineage]],
    split: str | None,
    split_file: str | Path | None,
    val_fraction: float | None,
    seed: int | None,
    calibrate: bool,
) -> EvaluationSplit:
    """The images to evaluate, with their hashes where a model is known to have been trained on some images."""
    chosen, has_lineage = None, any(past.train for _, past in lineages)
    if has_lineage and len(files) > 1 and split is None and split_file is None and val_fraction is None:
        if not {"test", "val"} & set(dataset.splits):
            dataset = replace(dataset, samples=lineage.with_sha256(dataset.samples))
        chosen = evaluation_split.not_trained_on(dataset, lineages)
    chosen = chosen or evaluation_split.choose_split(
        dataset,
        files[0],
        provenance,
        split=split,
        split_file=split_file,
        val_fraction=val_fraction,
        seed=seed,
        prefer=("val",) if calibrate else ("test", "val"),
    )
    if has_lineage:
        chosen = replace(chosen, samples=lineage.with_sha256(chosen.samples))
    if calibrate and split is None and chosen.name != "val":
        raise UserError(
            "`calibrate` needs images that the model was not trained on, and there is no val split. Give the `split`, "
            "or `split=all` if the model was trained on none of the images."
        )
    _log_split(chosen, calibrate)
    return chosen


def describe_selection(images: str = "these images") -> str:
    """Say that `images` were used to select the epoch and the temperature of a model."""
    return f"{images} were used to select the epoch and the temperature"


def check_output(out: str | Path) -> None:
    """Refuse a folder that `write` cannot use, before the work.

    Raises:
        UserError: it is the directory of a training run, whose own files would be replaced, or cannot be written to.
    """
    if (Path(out) / "recipe.toml").exists():
        raise UserError(
            f"'{out}' is a run directory with results of its own. Choose another `out`, such as {out}/test."
        )
    atomic_write.check_folder_writable(out)


def write(evaluation: Evaluation, out: str | Path) -> list[tuple[Path, Predictions]]:
    """Write `metrics.json`, `per_class.csv` and `predictions.csv`; two models have the folders `a` and `b` in `out`.

    Returns:
        Each folder, with the predictions to draw in it.

    Raises:
        UserError: as `check_output`.
        JobError: the disk is full.
    """
    check_output(out)
    out = Path(out)
    folders = [out] if evaluation.comparison is None else [out / "a", out / "b"]
    for folder, model in zip(folders, evaluation.models, strict=True):
        how = {
            "split": evaluation.split.name,
            "data": evaluation.data,
            "protocol": model.protocol,
            **evaluation._remarks,
        }
        how |= model.predictions.computed
        results = {**metrics.summarize(model.predictions), **how, "checkpoints": list(model.checkpoints)}
        _write_json(folder / "metrics.json", results)
        metrics.write_per_class(folder / "per_class.csv", model.predictions)
        model.predictions.write_csv(folder / "predictions.csv")
    if evaluation.comparison is not None:
        _write_json(out / "comparison.json", evaluation.to_dict()["comparison"])
    return [(folder, model.predictions) for folder, model in zip(folders, evaluation.models, strict=True)]


def _training_notices(models: Sequence[tuple[str, Lineage]], split: EvaluationSplit) -> list[str]:
    """A sentence for each model that was trained on some of the images, or of which that is not known."""
    plain = split.name in (evaluation_split.ALL, evaluation_split.NOT_TRAINED_ON)
    images = "images" if plain else f"'{split.name}' images"
    notices = [past.seen_message(split.samples, images, f"'{name}'") for name, past in models]
    return [notice for notice in notices if notice]


def _join_unique(protocols: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(protocols))


def _in_sample_notices(
    files: Sequence[Path], selected: Sequence[int], split: EvaluationSplit, calibrate: bool
) -> list[str]:
    """A sentence for each model whose epoch or temperature was selected on some of the images."""
    total, notices = len(split.samples), []
    for file, count in zip(files, selected, strict=True):
        which = "these images" if count == total else f"{count:,} of these {total:,} images"
        if count:
            notices.append(
                f"{describe_selection(which)} of '{file}'; its metrics are in-sample: expect lower accuracy on other images"
            )
    if calibrate and not notices:
        notices.append(
            f"the temperature of '{files[0]}' is fitted to these images: expect a larger calibration error on other images"
        )
    return notices


def _log_split(split: EvaluationSplit, calibrate: bool) -> None:
    count = f"{len(split.samples):,}"
    if split.name == evaluation_split.ALL:
        which = f"all {count} images"
    elif split.name == evaluation_split.NOT_TRAINED_ON:
        which = f"the {count} images that no model was trained on"
    else:
        which = f"the {count} images of the {split.name} split"
    log(f"evaluating {which} ({split.reason})")
    if calibrate and split.name != "val":
        log(f"warning: a temperature fitted to '{split.name}' makes the metrics on the same images look better")


def _calibrated(file: Path, predictions: Predictions, data: str, split: EvaluationSplit) -> Predictions:
    temperature = calibration.calibrate(file, predictions, {"data": data, "split": split.name})
    after = replace(predictions, temperature=temperature)
    old, new = metrics.summarize(predictions), metrics.summarize(after)
    log(
        f"temperature {temperature:.3f} stored in '{file}' (was {predictions.temperature:.3f}): "
        f"loss {old['loss']:.4f} -> {new['loss']:.4f}, calibration error {100 * old['ece']:.1f} % -> {100 * new['ece']:.1f} %"
    )
    return after


def _write_json(path: Path, value: dict[str, Any]) -> None:
    atomic_write.write_text(path, json.dumps(value, indent=2, ensure_ascii=True) + "\n")
