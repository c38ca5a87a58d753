"""Published weights by name: where they lie, how their publisher lets a file be checked, and how good they are.

The table is `catalog.csv`. Its facts were read from the installed libraries, with which a test compares them: torchvision
0.29's weights enums, timm 1.0.31's pretrained configurations, Keras 3.15's WEIGHTS_HASHES. timm's accuracies are those of
the table on its model cards at the size of its default images, or else those of its results/results-imagenet.csv (commit
0173a139a2); Keras' are those of keras.io/api/applications. A fact that could not be read is empty.
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

from resnets.errors import UserError, suggestion
from resnets.weights.hub import bundled

if TYPE_CHECKING:
    from resnets.data.image.preprocess import Preprocess
    from resnets.models.spec import ResNetSpec

BEST = "imagenet"  # the word that stands for the best published weights of an architecture
# What torchvision's weights are called in timm; they are the same files.
ALIASES = {".tv_in1k": ".tv_in1k_v1", ".tv2_in1k": ".tv_in1k_v2"}
COMPANIONS = {"huggingface": ("config.json", "preprocessor_config.json")}  # that lie beside the tensors
RESTRICTED = "-nc"  # in the license of weights that may not be used commercially


@dataclass(frozen=True)
class Published:
    """One set of published weights.

    Attributes:
        name: as people know it, such as "resnet50.a1_in1k".
        format: that of the file: "torchvision", "timm", "huggingface" or "keras".
        model: the network of our zoo.
        overrides: what the network has otherwise than the zoo's.
        address: of the file.
        digest: "sha256:" or "md5:" and the hash that the publisher gives, or the first digits of it; "" where the server
            tells it with the file.
        side, resize_to, interpolation, normalize: what `preprocess` is made of.
        num_classes: 1000, or 0 for weights without the last layer.
        top1, top5: accuracy in percent on ImageNet's validation images; None where none could be read.
        measured: side of the images and of their shorter side before the crop, "224/256"; that of the accuracy.
        source: who measured it.
        license: as the publisher gives it.
        megabytes: the publisher's figure, in units of 2**20 bytes; None where it gives none.
    """

    name: str
    format: str
    model: str
    overrides: dict[str, Any] = field(hash=False)
    address: str
    digest: str
    side: int
    resize_to: int | None
    interpolation: str
    normalize: str
    num_classes: int
    top1: float | None
    top5: float | None
    measured: str
    source: str
    license: str
    megabytes: float | None

    @property
    def whole_digest(self) -> bool:
        """Whether the publisher gives all 64 digits of the SHA-256, and not the first few."""
        return len(self.digest) == len("sha256:") + 64

    @property
    def file_name(self) -> str:
        """The publisher's name of the file."""
        return urlsplit(self.address).path.rpartition("/")[2]

    @property
    def host(self) -> str:
        """Where it comes from."""
        return urlsplit(self.address).netloc

    @property
    def beside(self) -> tuple[str, ...]:
        """Addresses of the small files that belong to it."""
        folder = self.address.rpartition("/")[0]
        return tuple(f"{folder}/{name}" for name in COMPANIONS.get(self.format, ()))

    @property
    def protocol(self) -> str:
        """How the accuracy was measured, in words; "" without one."""
        side, _, resized = self.measured.partition("/")
        if not side:
            return ""
        return f"{self.source}, 1-crop {side} of {resized}" if resized else f"{self.source}, {side} px"

    @property
    def comparable(self) -> bool:
        """Whether the accuracy was measured on images as `preprocess` makes them."""
        made = f"{self.side}/{self.resize_to}" if self.resize_to else str(self.side)
        return self.top1 is not None and self.measured == made

    def preprocess(self) -> Preprocess:
        """How these weights want their images: the publisher's default."""
        from resnets.data.image.preprocess import Preprocess

        if self.normalize in ("caffe", "tf"):
            return getattr(Preprocess, self.normalize)(self.side)
        shape = Preprocess(size=(self.side, self.side), resize_to=self.resize_to, interpolation=self.interpolation)
        return replace(shape, mean=(0.5,) * 3, std=(0.5,) * 3) if self.normalize == "half" else shape

    def spec(self) -> ResNetSpec:
        """The network that these weights fill; without a last layer, one for 1,000 classes."""
        from resnets.models import zoo

        return zoo.get_spec(self.model, **self.overrides)


@cache
def entries() -> dict[str, Published]:
    """All published weights by name."""
    text = resources.files(__package__).joinpath("catalog.csv").read_text("utf-8")
    return {row["name"]: _published(row) for row in csv.DictReader(text.splitlines())}


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match a pattern such as "resnet50.*"; a pattern without a star matches any part of a name."""
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return [name for name in names if fnmatch.fnmatchcase(name, pattern.lower())]


def known(name: str) -> bool:
    """Whether `find` finds weights of that name."""
    return _canonical(name) in entries()


def find(name: str) -> Published:
    """The weights of that name; timm's names of torchvision's weights, and names of repositories of
    Hugging Face (`timm/resnet50.a1_in1k`, `microsoft/resnet-50`), are understood, too.

    Raises:
        UserError: an unknown name; the message suggests the nearest.
    """
    name = _canonical(name)
    if name not in entries():
        hint = suggestion(name.lower(), entries()) or " `resnets weights list` shows them all."
        raise UserError(f"There are no published weights '{name}'.{hint}")
    return entries()[name]


def of_digest(sha256: str, size: int) -> Published | None:
    """The weights whose file has this SHA-256 and this size in bytes; None where the table has no such file.

    Where the publisher gives only the first digits, a file can be made that has the same: see `Published.whole_digest`.
    """
    given, megabytes = f"sha256:{sha256}", round(size / 2**20, 3)
    hashed = [entry for entry in entries().values() if entry.digest.startswith("sha256:")]
    fitting = [entry for entry in hashed if entry.megabytes in (None, megabytes)]
    return next((entry for entry in fitting if given.startswith(entry.digest)), None)


def best(model: str) -> Published:
    """The published weights with the highest top-1 for a network of the zoo, which `--weights imagenet` stands for.

    Accuracies that were measured on images of another size than the publisher prepares come after those that were
    not, and a network that differs from the zoo's in a setting comes after the zoo's own. Weights whose license forbids
    commercial use, and those without a last layer, are never chosen.

    Raises:
        UserError: nobody published any for this network.
    """
    from resnets.models import zoo

    zoo.find(model)
    found = [
        entry
        for entry in entries().values()
        if entry.model == model and entry.num_classes and RESTRICTED not in entry.license
    ]
    if not found:
        others = [*bundled.of_model(model), *(entry.name for entry in entries().values() if entry.model == model)]
        near = f" Others are: {', '.join(others)}." if others else " `resnets weights list` shows what there is."
        raise UserError(f"There are no published ImageNet weights for '{model}'.{near}")
    return max(found, key=lambda entry: (not entry.overrides, entry.comparable, entry.top1 or 0.0))


def _canonical(name: str) -> str:
    name = re.sub(r"^(hf[-_]hub:|hf://)", "", name)
    if repository := re.fullmatch(r"microsoft/resnet-(\d+)", name):
        return f"resnet{repository[1]}.microsoft"
    stem, dot, end = name.removeprefix("timm/").rpartition(".")
    return stem + ALIASES.get(dot + end, dot + end)


def _published(row: dict[str, str]) -> Published:
    return Published(
        **{
            **row,
            "overrides": dict(_setting(word) for word in row["overrides"].split()),
            "side": int(row["side"]),
            "resize_to": int(row["resize_to"]) if row["resize_to"] else None,
            "num_classes": int(row["num_classes"]),
            **{key: float(row[key]) if row[key] else None for key in ("top1", "top5", "megabytes")},
        }  # type: ignore[arg-type]
    )


def _setting(word: str) -> tuple[str, Any]:
    key, _, value = word.partition("=")
    if key == "num_blocks":
        return key, tuple(map(int, value.split(",")))
    return key, True if value == "true" else value
