"""The rule that chooses a backend for a job from the device, the installed packages and the size of the job.

Nothing is timed, so that a repeated command computes the same. `resnets bench` measures.
"""

from collections.abc import Collection
from typing import NamedTuple

import torch

from resnets.errors import UserError
from resnets.inference import backends
from resnets.message_format import suggestion

# Jobs of fewer pixels use the reference. Converting a network takes OpenVINO 3 to 5 s on two cores (ResNet-50, docs/speed.md),
# which pays off from about this many images of 224 x 224 pixels.
LONG_PIXELS = 500 * 224 * 224


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
    mostly_winograd: bool = False,
) -> tuple[Choice, ...]:
    """The backends for a job in order of preference: the first one that can be built and is close to the reference is used.

    Args:
        device: "cpu", "cuda" or "mps".
        installed: names of backends, as `backends.available` returns them.
        pixels: of all images of the job together; 0 if their number is not known.
        native_bf16: whether the device computes bf16 natively.
        backend, precision: what the user chose, or "auto".
        exact: whether fp32 without a chosen backend means the reference itself; otherwise OpenVINO or torch in fp32, which
            differ by rounding, may compute a long job.
        mostly_winograd: whether torch computes most multiplications of the network by Winograd's algorithm, which OpenVINO
            does not have.
    """
    if backend != "auto":
        return (Choice(backend, precision if precision != "auto" else "bf16" if native_bf16 else "fp32"),)
    long_job = pixels >= LONG_PIXELS
    openvino = long_job and device == "cpu" and "openvino" in installed
    bf16_choices = tuple(Choice(name, "bf16") for name in ("openvino", "torch") if openvino or name == "torch")
    fp32_choices: tuple[Choice, ...] = (Choice("openvino", "fp32"), REFERENCE) if openvino else (REFERENCE,)
    if long_job and mostly_winograd:
        fp32_choices = (Choice("torch", "fp32"), REFERENCE)
    if precision == "bf16":
        return bf16_choices
    if precision == "fp32":
        return (REFERENCE,) if exact else fp32_choices
    return (*bf16_choices, *fp32_choices) if long_job and native_bf16 else fp32_choices


def check(backend: str, precision: str, device: torch.device) -> None:
    """Raise UserError for a backend or a precision that is not available here."""
    if precision == "int8":
        raise UserError("`precision=int8` needs a checkpoint that was quantized: resnets quantize CHECKPOINT IMAGES")
    known = ("auto", *backends.PRECISIONS)
    if precision not in known:
        hint = suggestion(precision, known)
        raise UserError(f"`precision` is one of {', '.join(known)}; received '{precision}'.{hint}")
    if backend != "auto":
        backends.check(backend, device)
