"""The catalog of published weights: URLs, hashes, preprocessing, accuracies and licenses.

The table is `catalog.csv`. Its facts were read from the installed libraries, with which a test compares them: torchvision
0.29's weights enums, timm 1.0.31's pretrained configurations, Keras 3.15's WEIGHTS_HASHES. timm's accuracies are those of
the table on its model cards at the size of its default images, or else those of its results/results-imagenet.csv (commit
0173a139a2); Keras' are those of keras.io/api/applications. Facts that no source states are empty.
"""

from __future__ import annotations

import csv
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.weights.hub import bundled

if TYPE_CHECKING:
    from resnets.data.image.preprocess import Preprocess
    from resnets.models.spec import ResNetSpec

BEST = "imagenet"  # name for the best published weights of a network
# Names of torchvision's weights in timm; they are the same files.
ALIASES = {".tv_in1k": ".tv_in1k_v1", ".tv2_in1k": ".tv_in1k_v2"}
COMPANIONS = {"huggingface": ("config.json", "preprocessor_config.json")}  # in the same folder as the tensors
DETECTOR, SEGMENTER = (
    "torchvision_detector",
    "torchvision_segmenter",
)  # the formats of models that are built on a network
RESTRICTED = "-nc"  # in the license of weights that may not be used commercially


@dataclass(frozen=True)
class PublishedWeights:
    """One set of published weights."""

    name: str  # such as "resnet50.a1_in1k"
    format: str  # of the file: a library, such as "timm", or `DETECTOR` or `SEGMENTER`
    model: str  # name of the network in the zoo
    overrides: dict[str, Any] = field(hash=False)  # fields in which the network differs from the zoo's
    url: str  # of the file
    # "sha256:" or "md5:" and the hash that the publisher states, or its first digits; "" if the server sends it with the
    # file.
    digest: str
    side: int  # parameters of `preprocess`
    resize_to: int | None  # parameters of `preprocess`
    interpolation: str  # parameters of `preprocess`
    normalize: str  # parameters of `preprocess`
    num_classes: int  # 1000, or 0 for weights without the last layer
    top1: float | None  # accuracy in percent on ImageNet's validation images; None if no source states it
    top5: float | None  # accuracy in percent on ImageNet's validation images; None if no source states it
    # Sizes of the images for this accuracy: the crop, and the shorter side before the crop, as in "224/256".
    measured: str
    measured_by: str  # who measured it
    license: str  # as the publisher states it
    megabytes: float | None  # size as the publisher states it, in units of 2**20 bytes; None if it does not
    box_ap: float | None = None  # of a detector, in percent on the 5,000 images val2017 of COCO
    mask_ap: float | None = None  # of a detector with masks
    miou: float | None = None  # of a segmenter, in percent on the images val2017 of COCO, with the classes of VOC

    @property
    def whole_digest(self) -> bool:
        """Whether the publisher states all 64 digits of the SHA-256, not only the first few."""
        return len(self.digest) == len("sha256:") + 64

    @property
    def file_name(self) -> str:
        """The publisher's name of the file."""
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def host(self) -> str:
        """The host of the file."""
        return urlsplit(self.url).netloc

    @property
    def beside(self) -> tuple[str, ...]:
        """URLs of the small files in the same folder that are downloaded as well."""
        folder = self.url.rpartition("/")[0]
        return tuple(f"{folder}/{name}" for name in COMPANIONS.get(self.format, ()))

    @property
    def protocol(self) -> str:
        """How the accuracy was measured, as text; "" without an accuracy."""
        if self.format == DETECTOR:
            return "torchvision, COCO val2017, 5,000 images"
        if self.format == SEGMENTER:
            return "torchvision, COCO val2017, the classes of VOC"
        side, _, resized = self.measured.partition("/")
        if not side:
            return ""
        return f"{self.measured_by}, 1-crop {side} of {resized}" if resized else f"{self.measured_by}, {side} px"

    @property
    def comparable(self) -> bool:
        """Whether the accuracy was measured with the image size of `preprocess`."""
        prepared = f"{self.side}/{self.resize_to}" if self.resize_to else str(self.side)
        return self.top1 is not None and self.measured == prepared

    def preprocess(self) -> Preprocess:
        """The preprocessing for these weights: the publisher's default."""
        from resnets.data.image.preprocess import Preprocess

        if self.format in (DETECTOR, SEGMENTER):
            return Preprocess(size=(self.side, self.side), resize="fit", resize_to=self.resize_to, background=(0, 0, 0))
        if self.normalize in ("caffe", "tf"):
            return getattr(Preprocess, self.normalize)(self.side)
        shape = Preprocess(size=(self.side, self.side), resize_to=self.resize_to, interpolation=self.interpolation)
        return replace(shape, mean=(0.5,) * 3, std=(0.5,) * 3) if self.normalize == "half" else shape

    def spec(self) -> ResNetSpec:
        """The specification of the network of these weights; without a last layer, one for 1,000 classes.

        Of a detector or a segmenter, that of its backbone.
        """
        from resnets.models import model_names, zoo

        return zoo.get_spec(model_names.backbone_name(self.model), **self.overrides)


@cache
def entries() -> dict[str, PublishedWeights]:
    """All published weights by name."""
    text = resources.files(__package__).joinpath("catalog.csv").read_text("utf-8")
    return {row["name"]: _published(row) for row in csv.DictReader(text.splitlines())}


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match a pattern such as "resnet50.*"; a pattern without a wildcard matches any substring."""
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return [name for name in names if fnmatch.fnmatchcase(name, pattern.lower())]


def known(name: str) -> bool:
    """Whether `find` finds weights of that name."""
    return _canonical_name(name) in entries()


def find(name: str) -> PublishedWeights:
    """The weights of that name; timm's names of torchvision's weights and names of Hugging Face
    repositories (`timm/resnet50.a1_in1k`, `microsoft/resnet-50`) are accepted, too.

    Raises:
        UserError: an unknown name; the message suggests the nearest.
    """
    name = _canonical_name(name)
    if name not in entries():
        hint = suggestion(name.lower(), entries()) or " `resnets weights list` shows them all."
        raise UserError(f"There are no published weights '{name}'.{hint}")
    return entries()[name]


def find_by_digest(sha256: str, size: int) -> PublishedWeights | None:
    """The weights whose file has this SHA-256 and this size in bytes; None if the catalog has no such file.

    If the publisher states only the first digits, another file may have the same: see `PublishedWeights.whole_digest`.
    """
    digest = f"sha256:{sha256}"
    return next((entry for entry in _of_size(size) if digest.startswith(entry.digest)), None)


def has_size(size: int) -> bool:
    """Whether `find_by_digest` may find a file of this size in bytes; if not, it need not be hashed."""
    return bool(_of_size(size))


def _of_size(size: int) -> list[PublishedWeights]:
    hashed = [entry for entry in entries().values() if entry.digest.startswith("sha256:")]
    return [entry for entry in hashed if entry.megabytes in (None, round(size / 2**20, 3))]


def best(model: str) -> PublishedWeights:
    """The published weights with the highest top-1 accuracy for a network of the zoo: those of `weights="imagenet"`.

    Accuracies that were measured with another image size than the publisher's default rank after the others, and networks that
    differ from the zoo's in a field rank after the zoo's own. Weights whose license forbids commercial use, and weights without
    a last layer, are never chosen.

    Raises:
        UserError: there are no published weights for this network.
    """
    from resnets.models import zoo

    zoo.find(model)
    candidates = [
        entry
        for entry in entries().values()
        if entry.model == model and entry.num_classes and RESTRICTED not in entry.license
    ]
    if not candidates:
        others = [*bundled.of_model(model), *(entry.name for entry in entries().values() if entry.model == model)]
        near = f" Others are: {', '.join(others)}." if others else " `resnets weights list` shows what there is."
        raise UserError(f"There are no published ImageNet weights for '{model}'.{near}")
    return max(candidates, key=lambda entry: (not entry.overrides, entry.comparable, entry.top1 or 0.0))


def _canonical_name(name: str) -> str:
    name = re.sub(r"^(hf[-_]hub:|hf://)", "", name)
    if repository := re.fullmatch(r"microsoft/resnet-(\d+)", name):
        return f"resnet{repository[1]}.microsoft"
    stem, dot, end = name.removeprefix("timm/").rpartition(".")
    return stem + ALIASES.get(dot + end, dot + end)


def _published(row: dict[str, str]) -> PublishedWeights:
    return PublishedWeights(
        **{
            **row,
            "overrides": dict(_setting(word) for word in row["overrides"].split()),
            "side": int(row["side"]),
            "resize_to": int(row["resize_to"]) if row["resize_to"] else None,
            "num_classes": int(row["num_classes"]),
            **{key: float(row[key]) if row[key] else None for key in _NUMBERS},
        }  # type: ignore[arg-type]
    )


_NUMBERS = ("top1", "top5", "megabytes", "box_ap", "mask_ap", "miou")


def _setting(word: str) -> tuple[str, Any]:
    key, _, value = word.partition("=")
    if key == "norm_eps":
        return key, float(value)
    if key == "num_blocks":
        return key, tuple(map(int, value.split(",")))
    return key, True if value == "true" else value
