"""Quantize a classifier to int8, and prove on images what that loses and what it gains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.split import lineage
from resnets.errors import JobError, UserError
from resnets.export import graph, output_path
from resnets.export.quantization import calibration_images, int8_gate, write_int8
from resnets.export.quantization.calibration_images import CalibrationImages
from resnets.export.quantization.int8_gate import AccuracyLoss, Gain, Verdict
from resnets.export.quantization.measure_gain import measure_gain
from resnets.export.write_exported import TracedGraph, write_contents
from resnets.hashing import sha256
from resnets.inference.exported import int8_files
from resnets.inference.exported.read_exported import ExportedFile
from resnets.message_format import pluralize
from resnets.progress import log
from resnets.tasks import evaluate, load_model
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.classification.task import Classification
from resnets.tasks.exported import exported_model
from resnets.tasks.exported.exported_model import ExportedModel, input_preprocess
from resnets.tasks.inputs import evaluation_split
from resnets.tasks.inputs.evaluation_split import ALL, EvaluationSplit
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, local_file

FORMAT = 1  # of the JSON file
INPUT = "normalize"  # of the graph


@dataclass(frozen=True)
class QuantizeResult:
    """An int8 file, and what was proved of it.

    Attributes:
        path: the file, or for OpenVINO the folder; its name ends with `.refused` unless it passed.
        verdict: "passed", "refused" or "not proved", and why.
        loss: of accuracy.
        gain: of speed.
        details: the content of the JSON file beside it.
    """

    path: Path
    verdict: Verdict
    loss: AccuracyLoss
    gain: Gain
    details: dict[str, Any]

    @property
    def gate_path(self) -> Path:
        """The JSON file."""
        return output_path.beside(self.path, int8_files.GATE)

    def to_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        return {"out": str(self.path), "gate": str(self.gate_path), **self.details}

    def in_words(self) -> list[str]:
        """The result in lines for a person."""
        lines = [f"{self.verdict.name}: {self.verdict.reason}"]
        lines += [f"class {each}" for each in self.loss.classes]
        return [*lines, f"written: '{self.path}' and '{self.gate_path}'"]

    def check_passed(self) -> None:
        """Raise JobError unless it passed."""
        if not self.verdict.passed:
            raise JobError(f"The int8 model is {self.verdict.name}: {self.verdict.reason}")


def quantize(
    checkpoint: str | Path,
    images: str | Path,
    *,
    validation: str | Path | None,
    to: str,
    max_drop: float,
    min_gain: float,
    count: int,
    seed: int,
    out: str | Path | None,
) -> QuantizeResult:
    """See `resnets.quantize`; `to` is its `format`."""
    write_int8.check_format(to)
    int8_gate.check_limits(max_drop, min_gain)
    if count < 1:
        raise UserError(f"`count` must be 1 or more; received {count}.")
    local_file.check_not_exported(checkpoint)
    file = find_weights.find_file(checkpoint)
    path = Path(out) if out is not None else output_path.default(file, int8_files.ENDINGS[to])
    output_path.check(path, to, int8_files.GATE, lambda note: int8_files.read_gate(note) is not None)
    digest, model = sha256(file), load_model.load(file, "cpu", precision="fp32")
    if not isinstance(model.task, Classification):
        raise UserError(f"Only classifiers are quantized; '{file}' is a model of the task {model.task.name}.")
    evaluate.check_models([file], [model], str(images))
    gate_images = _gate_images(file, model, images if validation is None else validation, validation is not None)
    calibration = _calibration_images(file, model, images, gate_images, count=count, seed=seed)
    traced = trace(file, model)
    pixels = calibration_images.load(calibration.paths, input_preprocess(model.preprocess, INPUT), INPUT)
    log(f"quantizing {model.spec.name if model.spec else 'the network'}, and writing it as {to} ...")
    contents = write_int8.contents(traced, to, pixels)
    written = ExportedFile(path, to, tuple(contents.values()), traced.metadata(to, int8_files.INT8))
    loss, gain = measure(model, exported_model.of_file(written), gate_images.samples)
    verdict = int8_gate.judge(loss, gain, max_drop=max_drop, min_gain=min_gain)
    if written.metadata["checkpoint_sha256"] != digest:  # by a training that goes on
        raise UserError(f"'{file}' was changed while it was read. Quantize it when its training has ended.")
    details = {
        "format": FORMAT, "verdict": verdict.name, "reason": verdict.reason, "max_drop": max_drop, "min_gain": min_gain,
        "loss": loss.to_dict(), "gain": gain.to_dict(), **_describe_file(written, file), "calibration": calibration.to_dict(),
        "images": _describe_images(gate_images, file, model), "processor": int8_files.describe_processor(),
    }  # fmt: skip
    result = QuantizeResult(
        path if verdict.passed else output_path.beside(path, output_path.REFUSED), verdict, loss, gain, details
    )
    write_contents(result.path, contents)
    atomic_write.write_text(result.gate_path, json.dumps(details, indent=1) + "\n")
    return result


def trace(file: Path, model: TrainedModel) -> TracedGraph:
    """The graph of a checkpoint and its model that is quantized."""
    built = graph.build(model.task, model.model, model.preprocess, INPUT)
    size = graph.input_size(model.preprocess)
    return TracedGraph(built, INPUT, size, checkpoints.read(file, task=None), file)


def measure(model: TrainedModel, int8: ExportedModel, samples: Sequence[Sample]) -> tuple[AccuracyLoss, Gain]:
    """What an int8 file loses against its checkpoint in fp32, on these images, and how much faster it is on this machine."""
    log(f"predicting {pluralize(len(samples), 'image')} in fp32, then in int8")
    before, after = (predict_samples([each], samples) for each in (model, int8))
    return int8_gate.measure_loss(before, after), measure_gain(model, int8, before.paths)


def _gate_images(file: Path, model: TrainedModel, location: str | Path, is_validation: bool) -> EvaluationSplit:
    """The images on which the loss is measured, with the hashes of their files: test, else val, of the data or of the run."""
    chosen = evaluation_split.choose_split(_read(model, location), file, model.provenance)
    if chosen.name == ALL and not is_validation:
        raise UserError(
            f"'{location}' has no test and no val split, and a loss is not measured on images of the calibration. Give the "
            "images to measure it on by `validation`."
        )
    chosen = replace(chosen, samples=lineage.with_sha256(chosen.samples))
    log(f"gate: {pluralize(len(chosen.samples), 'image')} of {_name(chosen)} ({chosen.reason})")
    for notice in _notices(chosen, file, model):
        log(f"warning: {notice}")
    return chosen


def _notices(chosen: EvaluationSplit, file: Path, model: TrainedModel) -> list[str]:
    """What the weights have seen of the images of the gate."""
    notices = evaluate.training_notices([(file.name, lineage.lineage_of(file, model.provenance))], chosen)
    if selected := evaluation_split.num_selected_on(file, chosen.samples, model.provenance):
        images = f"{selected:,} of the {len(chosen.samples):,} images of the gate"
        notices.append(f"{evaluate.describe_selection(model.task, images)}; other images may lose more")
    return notices


def _calibration_images(
    file: Path, model: TrainedModel, location: str | Path, gate_images: EvaluationSplit, *, count: int, seed: int
) -> CalibrationImages:
    """Images of train; where a dataset has no splits, any that the gate does not have."""
    chosen = evaluation_split.choose_split(_read(model, location), file, model.provenance, prefer=("train",))
    found = calibration_images.choose(
        chosen.samples,
        model.class_names,
        count=count,
        seed=seed,
        excluded={digest for digest in lineage.sha256_of_samples(gate_images.samples) if digest},
        split=_name(chosen),
    )
    log(found.in_words())
    return found


def _read(model: TrainedModel, location: str | Path) -> Dataset:
    return model.task.bind(model.task.read(str(location), on_inaccessible="error", config=model.task.config))


def _name(chosen: EvaluationSplit) -> str:
    return "the whole data" if chosen.name == ALL else f"the {chosen.name} split"


def _describe_file(written: ExportedFile, checkpoint: Path) -> dict[str, Any]:
    """The int8 file and its origin for JSON."""
    return {
        "file_sha256": int8_files.content_sha256(written),
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": written.metadata["checkpoint_sha256"],
        "quantization": write_int8.settings(written.format),
        "versions": written.metadata["versions"],
    }


def _describe_images(chosen: EvaluationSplit, file: Path, model: TrainedModel) -> dict[str, Any]:
    """The images of the gate for JSON."""
    values = {"images": len(chosen.samples), "split": chosen.name}
    digest = calibration_images.list_sha256(chosen.samples)
    return {**values, "sha256": digest, "notices": _notices(chosen, file, model)}
