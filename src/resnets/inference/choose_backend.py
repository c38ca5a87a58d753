"""Which backend computes a job, by a rule: the device, what is installed, and the size of the job decide.

Nothing is timed here, so that a command that is repeated computes the same. `resnets bench` measures.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from resnets.errors import UserError, suggestion
from resnets.inference import backends

# A job of fewer pixels runs as it is. Converting a network takes OpenVINO 3 to 5 s on two cores (ResNet-50, docs/speed.md),
# which about this many images of 224 x 224 pixels make up for.
LONG_PIXELS = 500 * 224 * 224

# How far a probability may move from the reference's before a backend is not used. bf16 has 8 bits.
TOLERANCE = {"fp32": 0.002, "bf16": 0.01}


class Choice(NamedTuple):
    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


REFERENCE = Choice("reference", "fp32")


def choose(
    *,
    device: str,
    installed: Collection[str],
    pixels: int,
    native_bf16: bool,
    backend: str = "auto",
    precision: str = "auto",
    exact: bool = True,
) -> tuple[Choice, ...]:
    """What to compute a job with: the first of these that can be made here and whose answers are near the reference's.

    Args:
        device: "cpu", "cuda" or "mps".
        installed: names of backends, as `backends.available` gives them.
        pixels: of all images of the job together; 0 where its length is not known.
        native_bf16: whether the device multiplies bf16 natively.
        backend, precision: what was asked for, or "auto".
        exact: whether fp32 without a named backend means the reference itself; otherwise OpenVINO in fp32 computes a
            long job, which differs from it by rounding.
    """
    if backend != "auto":
        return (Choice(backend, precision if precision != "auto" else "bf16" if native_bf16 else "fp32"),)
    long = pixels >= LONG_PIXELS
    openvino = long and device == "cpu" and "openvino" in installed
    half = tuple(Choice(name, "bf16") for name in ("openvino", "torch") if openvino or name == "torch")
    single = (Choice("openvino", "fp32"), REFERENCE) if openvino else (REFERENCE,)
    if precision == "bf16":
        return half
    if precision == "fp32":
        return (REFERENCE,) if exact else single
    return (*half, *single) if long and native_bf16 else single


@dataclass(frozen=True)
class Agreement:
    """How near the answers are to the reference's, on `images` images.

    `same` is the share of equal first classes; the others are the largest differences of a logit and of a probability.
    """

    images: int
    same: float
    logit: float
    probability: float

    def __str__(self) -> str:
        return f"on {self.images} images {self.same:.2%} equal labels, probabilities within {self.probability:.4f}"


def agreement(logits: Tensor, wanted: Tensor, *, temperature: float = 1.0) -> Agreement:
    """Compare logits (N, K) with the reference's; probabilities are those at this temperature."""
    ours, theirs = ((each.double() / temperature).softmax(1) for each in (logits, wanted))
    same = (logits.argmax(1) == wanted.argmax(1)).double().mean()
    return Agreement(len(logits), float(same), float((logits - wanted).abs().max()), float((ours - theirs).abs().max()))


def check(backend: str, precision: str, device: torch.device) -> None:
    """Raises UserError for words that name no backend and no precision here."""
    if precision not in ("auto", *backends.PRECISIONS):
        known = ("auto", *backends.PRECISIONS)
        raise UserError(
            f"`precision` is one of {', '.join(known)}; received '{precision}'.{suggestion(precision, known)}"
        )
    if backend != "auto":
        backends.check(backend, device)
