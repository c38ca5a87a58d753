"""Export a checkpoint: write it in another format with a certificate, or what is refused under another name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from resnets import atomic_write
from resnets.errors import UserError
from resnets.export import graph, output_path
from resnets.export.certificate import certificate, evidence, proof_images
from resnets.export.certificate.certificate import Certificate, RefusedExportError
from resnets.export.certificate.certify import certify
from resnets.export.library_onnx import LIBRARIES
from resnets.export.traced_graph import FORMATS, TracedGraph, write_contents
from resnets.hashing import sha256
from resnets.inference.exported.metadata import CERTIFICATE, INPUTS
from resnets.message_format import format_bytes, suggestion
from resnets.progress import log
from resnets.tasks import load_model
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, local_file


def export(
    model: TrainedModel | str | Path,
    out: str | Path | None,
    *,
    to: str,
    preprocess: str,
    heatmap: bool,
    images: Sequence[str],
) -> Certificate:
    """Write a model in the format `to`, and its certificate beside it; see `resnets.export_model`."""
    _check_choice("format", to, (*FORMATS, *LIBRARIES))
    _check_choice("preprocess", preprocess, tuple(INPUTS))
    digest = sha256(find(model))
    trained, file = load(model)
    path = Path(out) if out is not None else local_file.export_path(file, output_path.ENDINGS[to])
    output_path.check(path, to, CERTIFICATE, certificate.is_certificate)
    checkpoint = checkpoints.read(file, task=None)
    try:
        built = graph.build(trained.task, trained.model, trained.preprocess, preprocess, heatmap)
    except UserError as error:
        raise UserError(f"'{trained.name}': {error}") from None
    chosen = proof_images.choose(images, file, checkpoint)
    found = evidence.collect(trained, built.output_names, chosen, preprocess)
    traced = TracedGraph(built, preprocess, graph.input_size(trained.preprocess), checkpoint, file)
    if traced.sha256 != digest:  # by a training that goes on
        raise UserError(f"'{file}' was changed while it was read. Export it when its training has ended.")
    log(f"tracing {trained.spec.name if trained.spec else 'the network'}, and writing it as {to} ...")
    contents = traced.contents(to)
    resizer = None
    if preprocess == "full":
        resizer = TracedGraph(graph.resizer(built), preprocess, None, checkpoint, file).contents(to)
    result = certify(path, to, contents, traced.metadata(to), file.name, found, resizer)
    if not result.passed:
        path = output_path.beside(path, output_path.REFUSED)
        result = result.written_to(path)
    write_contents(path, contents)  # first, so that no certificate says of an older file that it passed
    atomic_write.write_text(output_path.beside(path, CERTIFICATE), json.dumps(result.to_dict(), indent=1) + "\n")
    if not result.passed:
        raise RefusedExportError(f"The export is refused and kept as '{path}': {result.reason}.", result)
    log(
        f"written: '{path}' ({format_bytes(result.size_bytes)}) and its certificate '{output_path.beside(path, CERTIFICATE)}'"
    )
    return result


def load(model: TrainedModel | str | Path) -> tuple[TrainedModel, Path]:
    """The model and the file of its checkpoint, which has the same tensors, preprocessing and fitted values."""
    file = find(model)
    local_file.check_not_exported(file)
    loaded = load_model.load(file, "cpu", precision="fp32")
    loaded.name = str(model.name if isinstance(model, TrainedModel) else model)
    loaded.check_trained()
    if isinstance(model, TrainedModel) and not _are_equal(model, loaded):
        raise UserError(
            f"The model was changed since it was loaded from '{model.name}': save it as a checkpoint first."
        )
    if loaded.spec is not None and loaded.spec.in_channels != loaded.preprocess.channels:
        raise UserError(
            f"'{loaded.name}' takes {loaded.spec.in_channels} channels, but its preprocessing gives {loaded.preprocess.channels}."
        )
    return loaded, file


def find(model: TrainedModel | str | Path) -> Path:
    """The file of its checkpoint."""
    return find_weights.find_file(model.name if isinstance(model, TrainedModel) else model)


def _are_equal(model: TrainedModel, other: TrainedModel) -> bool:
    if model.preprocess != other.preprocess or model.task != other.task:
        return False
    first, second = model.model.state_dict(), other.model.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name].cpu(), second[name]) for name in first)


def _check_choice(name: str, received: str, known: Sequence[str]) -> None:
    if received not in known:
        raise UserError(f"`{name}` is one of {', '.join(known)}; received '{received}'.{suggestion(received, known)}")
