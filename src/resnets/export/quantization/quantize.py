"""Quantize a classifier to int8, and prove on images what that loses and what it gains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.split import lineage
from resnets.errors import JobError, UserError
from resnets.export import graph, output_path
from resnets.export.quantization import calibration_images, gate_images, int8_gate, to_int8
from resnets.export.quantization.calibration_images import CalibrationImages
from resnets.export.quantization.gate_images import GateImages
from resnets.export.quantization.int8_gate import AccuracyLoss, Gain, Verdict
from resnets.export.quantization.measure_gain import measure_gain
from resnets.export.traced_graph import TracedGraph, write_contents
from resnets.hashing import sha256
from resnets.inference.exported import int8_files
from resnets.inference.exported.read_exported import ExportedFile
from resnets.message_format import pluralize
from resnets.progress import log
from resnets.tasks import load_model
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.classification.task import Classification
from resnets.tasks.evaluation import evaluate, evaluation_split
from resnets.tasks.exported import exported_model
from resnets.tasks.exported.exported_model import ExportedModel, input_preprocess
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, local_file

FORMAT = 1  # of the JSON file
INPUT_KIND = "normalize"  # of the graph


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

    def lines(self) -> list[str]:
        """The lines that `resnets quantize` prints."""
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
    to_int8.check_format(to)
    int8_gate.check_limits(max_drop, min_gain)
    if count < 1:
        raise UserError(f"`count` must be 1 or more; received {count}.")
    file = find_weights.find_file(checkpoint)
    local_file.check_not_exported(file)
    path = Path(out) if out is not None else local_file.export_path(file, int8_files.ENDINGS[to])
    output_path.check(path, to, int8_files.GATE, lambda note: int8_files.read_gate(note) is not None)
    digest, model = sha256(file), load_model.load(file, "cpu", precision="fp32")
    if not isinstance(model.task, Classification):
        raise UserError(f"Only classifiers are quantized; '{file}' is a model of the task {model.task.name}.")
    evaluate.check_models([file], [model], str(images))
    location = images if validation is None else validation
    gate = gate_images.choose(_read(model, location), location, file, model, is_validation=validation is not None)
    log(gate.in_words())
    for notice in gate.notices:
        log(f"warning: {notice}")
    calibration = _calibration_images(file, model, images, gate, count=count, seed=seed)
    traced = graph_to_quantize(file, model)
    if traced.sha256 != digest:  # by a training that goes on
        raise UserError(f"'{file}' was changed while it was read. Quantize it when its training has ended.")
    pixels = calibration_images.load(calibration.paths, input_preprocess(model.preprocess, INPUT_KIND), INPUT_KIND)
    log(f"quantizing {model.spec.name if model.spec else 'the network'}, and writing it as {to} ...")
    contents = to_int8.contents(traced, to, pixels)
    written = ExportedFile(path, to, tuple(contents.values()), traced.metadata(to, int8_files.INT8))
    loss, gain = measure(model, exported_model.of_file(written), gate.samples)
    verdict = int8_gate.judge(loss, gain, max_drop=max_drop, min_gain=min_gain)
    details = {
        "format": FORMAT, "verdict": verdict.name, "reason": verdict.reason, "max_drop": max_drop, "min_gain": min_gain,
        "loss": loss.to_dict(), "gain": gain.to_dict(), **_describe_file(written, file), "calibration": calibration.to_dict(),
        "images": gate.to_dict(), "processor": int8_files.describe_processor(),
    }  # fmt: skip
    result = QuantizeResult(
        path if verdict.passed else output_path.beside(path, output_path.REFUSED), verdict, loss, gain, details
    )
    write_contents(result.path, contents)
    atomic_write.write_text(result.gate_path, json.dumps(details, indent=1) + "\n")
    if not verdict.passed:
        _warn_of_earlier(file)
    return result


def _warn_of_earlier(checkpoint: Path) -> None:
    """Log a warning where `precision="int8"` takes a file of the checkpoint that passed before."""
    try:
        earlier = int8_files.find(checkpoint, local_file.export_paths(checkpoint, int8_files.ENDINGS))
    except UserError:
        return
    log(
        f"warning: `precision=int8` still takes '{earlier.path}', which {int8_files.passed_in_words(earlier)} before. Remove it "
        "if it is not to be used"
    )


def graph_to_quantize(file: Path, model: TrainedModel) -> TracedGraph:
    """The graph of a checkpoint and its model that is quantized."""
    built = graph.build(model.task, model.model, model.preprocess, INPUT_KIND)
    size = graph.input_size(model.preprocess)
    return TracedGraph(built, INPUT_KIND, size, checkpoints.read(file, task=None), file)


def measure(model: TrainedModel, int8: ExportedModel, samples: Sequence[Sample]) -> tuple[AccuracyLoss, Gain]:
    """What an int8 file loses against its checkpoint in fp32, on these images, and how much faster it is on this machine."""
    log(f"predicting {pluralize(len(samples), 'image')} in fp32, then in int8")
    before, after = (predict_samples([each], samples) for each in (model, int8))
    return int8_gate.measure_loss(before, after), measure_gain(model, int8, before.paths)


def _calibration_images(
    file: Path, model: TrainedModel, location: str | Path, gate: GateImages, *, count: int, seed: int
) -> CalibrationImages:
    """Images of train; where a dataset has no splits, any that the gate does not have."""
    chosen = evaluation_split.choose_split(_read(model, location), file, model.provenance, prefer=("train",))
    found = calibration_images.choose(
        chosen.samples,
        model.class_names,
        count=count,
        seed=seed,
        excluded={digest for digest in lineage.sha256_of_samples(gate.samples) if digest},
        split=gate_images.split_name(chosen),
    )
    log(found.in_words())
    return found


def _read(model: TrainedModel, location: str | Path) -> Dataset:
    return model.task.bind(model.task.read(str(location), on_inaccessible="error", config=model.task.config))


def _describe_file(written: ExportedFile, checkpoint: Path) -> dict[str, Any]:
    """The int8 file and its origin for JSON."""
    return {
        "file_sha256": int8_files.content_sha256(written),
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": written.metadata["checkpoint_sha256"],
        "quantization": to_int8.settings(written.format),
        "versions": written.metadata["versions"],
    }
