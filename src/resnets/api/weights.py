"""`resnets.convert` and `resnets.verify`: weights in the formats of other libraries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from resnets.weights import conversion, verification
from resnets.weights.load_weights import Request
from resnets.weights.tolerance import TOLERANCE
from resnets.weights.verification_result import Verification


@dataclass(frozen=True)
class ConversionResult:
    """Weights that were written in another format.

    Attributes:
        out: the file or folder.
        to: its format.
        notes: what was found in the file, assumed and changed, a line each.
    """

    out: str
    to: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        return {**asdict(self), "notes": list(self.notes)}


def convert(
    path: str | Path,
    *,
    to: str,
    out: str | Path,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    map: str | Path | None = None,
    wrapper: str | None = None,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
    preprocess: str | None = None,
    class_names: Sequence[str] = (),
    num_classes: int | None = None,
    in_channels: int | None = None,
    no_top: bool = False,
) -> ConversionResult:
    """Write weights in another format. Every tensor is used once, or nothing is written.

    Args:
        path: a .safetensors, .pth, .h5 or .keras file, a .cfg of darknet, or a folder of Hugging Face.
        to: "resnets", "torchvision", "timm", "huggingface", "keras", "smp" (segmentation_models_pytorch) or "darknet".
        out: the file to write; a folder for "huggingface", and for "timm" without a suffix.
        model: the network in the file, if its tensors fit several.
        settings: of the network, where it differs from the one of that name, such as `{"stem": "cifar"}`.
        map: a TOML file that pairs the names of the tensors with those of resnets.
        wrapper: the keys that the network is stored under in the file, with dots between, such as "state_dict_ema".
        prefix: the prefix of the names of the network's tensors, such as "module.".
        ignore: patterns of names of tensors to leave out, such as "criterion.*".
        preprocess: the preprocessing that the network was trained with: "imagenet", "caffe" (BGR) or "tf".
        class_names: names of the classes, in the order of the outputs.
        num_classes: number of outputs of a new, untrained head.
        in_channels: number of channels of the image, in place of 3.
        no_top: leave the last layer out.

    Returns:
        The written file, its format, and notes on what was found, assumed and changed.

    Raises:
        UserError: the file, the arguments or the format do not fit each other (the message lists the tensors), or `out`
            cannot be written.
    """
    request = replace(
        _request(model, settings, map, wrapper, prefix, ignore),
        preprocess=preprocess,
        class_names=tuple(class_names),
        num_classes=num_classes,
        in_channels=in_channels,
        no_top=no_top,
    )
    notes = conversion.convert(path, to=to, out=out, request=request)
    return ConversionResult(str(out), to, tuple(notes))


def verify(
    a: str | Path,
    b: str | Path,
    *,
    images: Sequence[str | Path] = (),
    imgsz: int | None = None,
    tolerance: float = TOLERANCE,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    map: str | Path | None = None,
    wrapper: str | None = None,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
) -> Verification:
    """Compare two files of weights on the same images, preprocessing included, and with the library of each if installed.

    Args:
        a, b: files of weights of any format, as in `convert`.
        images: image files and folders; empty for generated images.
        imgsz: side of the network's input in pixels; all images are then prepared by the preprocessing of resnets.
        tolerance: largest difference of a probability; a logit of equal inputs may differ by a hundredth of it, relative to
            the largest logit.
        model, settings, map, wrapper, prefix, ignore: as in `convert`.

    Returns:
        The result; `.equal` is whether nothing differs by more than the tolerance.

    Raises:
        UserError: a file cannot be read, the two have different classes or channels, or there are no images.
    """
    request = _request(model, settings, map, wrapper, prefix, ignore)
    found = verification.verify(a, b, images=[str(image) for image in images], request=request, imgsz=imgsz)
    return replace(found, tolerance=tolerance)


def _request(
    model: str | None,
    settings: Mapping[str, Any] | None,
    map: str | Path | None,
    wrapper: str | None,
    prefix: str | None,
    ignore: Sequence[str],
) -> Request:
    """The arguments that `convert` and `verify` share: which network is in the file, and where."""
    return Request(
        model=model,
        settings=dict(settings or {}),
        map=None if map is None else str(map),
        wrapper=wrapper,
        prefix=prefix,
        ignore=tuple(ignore),
    )
