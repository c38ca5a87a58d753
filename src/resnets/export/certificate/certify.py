"""Compare an exported file with its checkpoint in each runtime that reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnets.errors import JobError
from resnets.export.certificate import compare_predictions
from resnets.export.certificate.certificate import Certificate, MadeFault, RuntimeProof
from resnets.export.certificate.compare_outputs import (
    Difference,
    OutputPair,
    differences,
    gray_levels,
    limit,
    same_labels,
    with_softmax,
)
from resnets.export.certificate.evidence import Evidence, Resized
from resnets.export.certificate.proof_batches import ProofBatch
from resnets.export.certificate.proof_runtimes import Contents, RuntimeChoice, runtime_choices
from resnets.export.graph import PIXELS
from resnets.inference import hardware
from resnets.inference.exported.runtimes import EXTRAS, OF_FORMAT, Runtime, first_line, is_installed
from resnets.progress import progress_bar

FAULT_IMAGES = 4  # images on which the comparison is tried with faults: the first, and the last, which are generated


def certify(
    path: Path, to: str, contents: Contents, metadata: Mapping[str, Any], checkpoint: str, evidence: Evidence,
    resizer: Contents | None = None,
) -> Certificate:  # fmt: skip
    """The certificate of a file that is to be written to `path`.

    Args:
        checkpoint: its name.
        resizer: the first part of a file that resizes, in the same format.

    Raises:
        JobError: no runtime that reads the format is installed, or the comparison does not notice a fault that was made on
            purpose.
    """
    _check_installed(to)
    proofs, evidence = prove_all(tuple(runtime_choices(to, contents, metadata, resizer)), evidence)
    return Certificate(
        path=path,
        format=to,
        sha256={name or path.name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        size_bytes=sum(map(len, contents.values())),
        checkpoint={"file": checkpoint, "sha256": metadata["checkpoint_sha256"]},
        preprocess=metadata["input"],
        processor=hardware.describe(torch.device("cpu")),
        images=evidence.images,
        reference=evidence.reference.describe(),
        runtimes=proofs,
        rounding=evidence.rounding,
        made_faults=check_comparison(evidence),
        versions=metadata["versions"],
    )


def _check_installed(to: str) -> None:
    names = OF_FORMAT.get(to, ())
    if names and not any(map(is_installed, names)):
        extras = ",".join(dict.fromkeys(EXTRAS[name] for name in names))
        raise JobError(
            f"No program that reads {to} is installed ({' or '.join(names)}), so nothing would be proved: "
            f"pip install 'resnets[{extras}]'"
        )


def prove_all(choices: Sequence[RuntimeChoice], evidence: Evidence) -> tuple[tuple[RuntimeProof, ...], Evidence]:
    """What each runtime computes, and the evidence by which it was judged.

    Where one fails and the rounding of float32 alone changes the outputs by more than the limits, as in a deep network without
    shortcuts, all are judged by limits that allow for it.
    """
    proofs = tuple(prove(each, evidence) for each in choices)
    if not any(each.failing for each in proofs if each.decides):
        return proofs, evidence
    rounded = evidence.with_rounding()
    if all(limit(name, rounded.rounding) == limit(name) for name in rounded.rounding):
        return proofs, evidence
    return tuple(prove(each, rounded) for each in choices), rounded


def prove(choice: RuntimeChoice, evidence: Evidence) -> RuntimeProof:
    """What a runtime computes for the batches, and how far that is from what the checkpoint does."""
    name, precision = choice.name, "default precision" if choice.default else "f32"
    if name != "torch" and not is_installed(name):
        return RuntimeProof(name, "", not_seen=f"not installed: pip install 'resnets[{EXTRAS[name]}]'")
    try:
        runtime = choice.open()
    except Exception as error:  # of any type of the runtime
        return RuntimeProof(name, "", failure=f"it cannot be read: {first_line(error)}")
    if choice.default and runtime.precision == "f32":
        not_seen = "this processor computes in f32 then; others may compute in bf16"
        return RuntimeProof(name, runtime.version, precision, not_seen=not_seen, decides=False)
    found: tuple[Difference, ...] = ()
    measured, failure = [], ""
    try:
        measured = _measure(runtime, evidence.batches, f"{name} {precision}")
        found = differences(measured, rounding=evidence.rounding) + _of_predictions(choice, evidence)
        if evidence.resized is not None and choice.open_resizer is not None:
            found += _of_resized(runtime, choice.open_resizer(), evidence.resized)
    except Exception as error:  # of any type of the runtime: it cannot compute one of the batches
        failure = first_line(error)
    count = sum(len(next(iter(each.expected.values()))) for each in measured)
    same = same_labels(measured) if found else None
    return RuntimeProof(
        name, runtime.version, precision, choice.hints, found, count, same, failure, decides=not choice.default
    )


def _measure(runtime: Runtime, batches: Sequence[ProofBatch], description: str) -> list[OutputPair]:
    """The outputs of every batch in every memory layout, beside those of the checkpoint."""
    cases = [(batch, where, inputs) for batch in batches for where, inputs in batch.layouts()]
    names = list(batches[0].expected)
    measured = []
    for batch, where, inputs in progress_bar(cases, description=description, unit="batches"):
        found = dict(zip(names, runtime.run(inputs, names), strict=True))
        measured.append(OutputPair(where, with_softmax(found), with_softmax(batch.expected)))
    return measured


def _of_resized(runtime: Runtime, resizer: Runtime, resized: Resized) -> tuple[Difference, ...]:
    """Of images that the file resizes: of the outputs, and of gray levels after the resize."""
    names = list(resized.limits[0])
    outputs, levels = [], []
    for batch in progress_bar(resized.batches, description=f"{runtime.name} resized", unit="images"):
        height, width = batch.inputs.shape[1:3]
        where = f"an image of {width}x{height}"
        outputs.append(
            OutputPair(where, dict(zip(names, runtime.run(batch.inputs, names), strict=True)), batch.expected)
        )
        (pixels,) = resizer.run(batch.inputs, [PIXELS])
        levels.append(OutputPair(where, {PIXELS: pixels.round().transpose(0, 2, 3, 1)}, {PIXELS: batch.frames.round()}))
    of_outputs = differences(outputs, resized.limits)
    renamed = tuple(replace(each, output=f"{each.output} of resized images") for each in of_outputs)
    return renamed + gray_levels(levels)


def _of_predictions(choice: RuntimeChoice, evidence: Evidence) -> tuple[Difference, ...]:
    """Of the masks or boxes that the file predicts."""
    if evidence.predictions is None or choice.predict is None:
        return ()
    found = choice.predict(evidence.images.images)
    return compare_predictions.differences(found, evidence.predictions, evidence.threshold)


def check_comparison(evidence: Evidence) -> tuple[MadeFault, ...]:
    """Make three faults on purpose; the comparison has to refuse each, on the first and on the last images.

    Raises:
        JobError: it accepts one of them.
    """
    reference, batches = evidence.reference, evidence.batches
    frames = [batches[0].frames[:1], *np.split(batches[-1].frames[-FAULT_IMAGES + 1 :], FAULT_IMAGES - 1)]
    expected = [reference.outputs(each) for each in frames]
    refused = []
    for fault, faulty in reference.with_faults(frames).items():
        pairs = zip(faulty, expected, strict=True)
        compared = [OutputPair("", with_softmax(wrong), with_softmax(right)) for wrong, right in pairs]
        found = differences(compared, rounding=evidence.rounding)
        worst: Difference = max(found, key=lambda each: each.value / each.limit)
        if worst.within_limit:
            raise JobError(
                f"The comparison does not notice a fault made on purpose ({fault}: {worst}), so it would prove nothing. "
                "The outputs hardly depend on the image: was the model trained?"
            )
        refused.append(MadeFault(fault, worst))
    return tuple(refused)
