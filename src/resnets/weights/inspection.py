"""What a file of weights is, with a reason for everything that is said of it and with its doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors import safe_open

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import catalog, keras, location, torchvision, traits
from resnets.weights import checkpoint as checkpoints
from resnets.weights import foreign as foreigners
from resnets.weights.foreign import Foreign
from resnets.weights.formats import FORMATS
from resnets.weights.guess import Guess
from resnets.weights.keymap import COUNTER, some
from resnets.weights.location import BEST

# What programs put before every name: DataParallel, torch.compile, Lightning and the like.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known of a file.

    Attributes:
        path, container: "pickle", "safetensors", "h5", "keras", or "resnets" for a file of ours.
        foreign: the tensors by their names without `prefix`; None for a file of ours.
        prefix: what stood before every name, or "".
        guesses: the networks that the file fits; more than one where its tensors cannot tell.
    """

    path: Path
    container: str
    foreign: Foreign | None
    prefix: str
    guesses: tuple[Guess, ...]

    def only(self) -> Guess:
        """The one network that the file is.

        Raises:
            UserError: there is none, or there are several; the message says what to name.
        """
        if not self.guesses:
            names = some(self.foreign.tensors if self.foreign else ())
            raise UserError(
                f"'{self.path}' is of no format that resnets knows; its tensors: {names}. Write a map: --map MAP.toml "
                "(docs/weights.md shows one)."
            )
        if len(self.guesses) > 1 or self.guesses[0].doubts:
            raise UserError(f"'{self.path}' does not show which network it is: {'; '.join(self.guesses[0].doubts)}.")
        return self.guesses[0]

    def lines(self) -> list[str]:
        """For a person, a line each."""
        if not self.guesses:
            names = some(self.foreign.tensors if self.foreign else (), 12)
            return [f"{self.path}: of no format that resnets knows", f"tensors: {names}", "convert it with --map"]
        first = self.guesses[0]
        specs = [guess.spec for guess in self.guesses]
        shown = {
            "format": f"{first.format} ({self.container})",
            "network": " or ".join(dict.fromkeys(spec.name for spec in specs)),
            "family": family(specs[0]),
            "depth": str(depth(specs[0])),
            "variant": " or ".join(dict.fromkeys(variant(spec) for spec in specs)),
            "channels": str(specs[0].in_channels),
            "classes": str(specs[0].classes) if has_top(self.foreign) else f"no top that {first.format} has a name for",
        }
        lines = [f"{name + ':':10}{value}" for name, value in shown.items()]
        if self.prefix:
            lines.append(f"prefix:   '{self.prefix}' before every name, taken off")
        if self.foreign and self.foreign.attributes.get("wrapper"):
            lines.append(f"wrapper:  the tensors lie under '{self.foreign.attributes['wrapper']}'")
        lines += [f"because:  {reason}" for reason in first.reasons]
        lines += [f"assumed:  {sentence}" for sentence in first.assumed]
        lines += [f"doubt:    {doubt}" for doubt in first.doubts]
        if self.foreign and (odd := unknown(self.foreign, first)):
            lines.append(f"unknown:  {some(odd)}; --map can give these names")
        return lines


def inspect(path: str | Path) -> Inspection:
    """Look at a file of weights of any known format; nothing in it is run.

    Raises:
        UserError: it cannot be read, or is no file of tensors.
    """
    path = location.packaged(path)
    if is_ours(path):
        checkpoint = checkpoints.read(path)
        reasons = ("the header of the file says so",)
        return Inspection(path, "resnets", None, "", (Guess(checkpoint.spec, "resnets", reasons),))
    foreign, prefix = without_prefix(keras.named(foreigners.read(path)))
    for module in FORMATS.values():
        if guesses := module.guesses(foreign):
            return Inspection(path, foreign.container, foreign, prefix, tuple(known(path, guesses) or guesses))
    return Inspection(path, foreign.container, foreign, prefix, ())


def known(path: Path, guesses: Sequence[Guess]) -> list[Guess]:
    """The guess that the file's hash confirms, when it is one of the catalogue's; else none."""
    digest = f"sha256:{checkpoints.fingerprint(main_file(path))}"
    for published in catalog.entries().values():
        if published.digest.startswith("sha256:") and digest.startswith(published.digest):
            spec = published.spec()
            for guess in guesses:
                if torchvision.same(guess.spec, spec):
                    reason = f"its sha256 is that of {published.name}"
                    preprocess = published.preprocess()
                    return [dataclasses.replace(guess, reasons=(reason, *guess.reasons), doubts=(), assumed=(),
                                                preprocess=preprocess)]  # fmt: skip
    return []


def main_file(path: Path) -> Path:
    """The file of tensors that a path stands for: itself, or the one in a folder of Hugging Face."""
    if not path.is_dir():
        return path
    return next(file for name in foreigners.FOLDER if (file := path / name).is_file())


def unknown(foreign: Foreign, guess: Guess) -> list[str]:
    """The names in the file that the format does not have for this network."""
    module = FORMATS[guess.format]
    pairs = module.keymap(guess.spec).pairs if has_top(foreign) else module.keymap(guess.spec, top=False).pairs
    theirs = {name for name, _ in pairs.values()}
    return [name for name in foreign.tensors if name not in theirs and not name.endswith(COUNTER)]


def is_ours(path: Path) -> bool:
    """Whether this is a checkpoint or a run folder of ours; what cannot be opened is not."""
    if path.is_dir():
        return (path / BEST).is_file() or (path / BEST.name).is_file()
    try:
        with safe_open(path, framework="pt") as file:
            return checkpoints.KEY in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def without_prefix(foreign: Foreign, prefix: str | None = None) -> tuple[Foreign, str]:
    """The tensors without what stands before every name, and that. A `prefix` that is given must be there.

    Raises:
        UserError: a name does not begin with the `prefix`.
    """
    names = list(foreign.tensors)
    if prefix is not None:
        if odd := [name for name in names if not name.startswith(prefix)]:
            raise UserError(f"'{foreign.path}': tensors do not begin with '{prefix}': {some(odd)}.")
    else:
        prefix = ""
        while found := [each for each in PREFIXES if names and all(name.startswith(prefix + each) for name in names)]:
            prefix += found[0]
    tensors = {name.removeprefix(prefix): tensor for name, tensor in foreign.tensors.items()}
    return dataclasses.replace(foreign, tensors=tensors), prefix


def has_top(foreign: Foreign | None) -> bool:
    """Whether the file has the last, fully connected layer."""
    heads = ("fc.weight", "head.fc.weight", "classifier.1.weight", "predictions", "head_fc")
    return foreign is None or any(name == head or head in name.split("/") or name.startswith(f"{head}.")
                                  for head in heads for name in foreign.tensors)  # fmt: skip


def depth(spec: ResNetSpec) -> int:
    """Layers as the papers count them: convolutions of the branches, the stem and the head."""
    return {"basic": 2, "bottleneck": 3, "single": 1}[spec.branch] * sum(spec.depths) + 2


def family(spec: ResNetSpec) -> str:
    """In a few words."""
    wide = spec.branch == "bottleneck" and 4 * spec.inner_widths[0] > spec.widths[0]
    words = [
        "Keras Applications'" if spec.name.startswith("keras") else "",
        "CIFAR" if spec.stem == "cifar" else "",
        "plain network" if spec.meeting == "plain" else "pre-activation" if spec.preactivation else "",
        {"se": "SE-", "cbam": "CBAM-"}.get(spec.gate, "") + "ResNeXt" if spec.groups > 1 else
        "Wide ResNet" if wide else "" if spec.meeting == "plain" else {"se": "SE-ResNet"}.get(spec.gate, "ResNet"),
    ]  # fmt: skip
    return " ".join(word for word in words if word)


def variant(spec: ResNetSpec) -> str:
    """What shapes do not show."""
    words = []
    if spec.branch == "bottleneck":
        words.append(f"stride in the {'3x3' if spec.stride_at == '3x3' else 'first 1x1'}")
    if spec.shortcut == "A":
        words.append(f"option A, zeros {'on both sides' if spec.zero_both_sides else 'after the channels'}")
    else:
        words.append("no shortcuts" if spec.meeting == "plain" else f"option {spec.shortcut}")
    return ", ".join(words)


def chosen(inspection: Inspection, model: str | None, settings: Mapping[str, Any]) -> Guess:
    """The guess that a person confirms by naming the network, or the only one.

    Raises:
        UserError: the network is unknown, or the file still fits several.
    """
    if model is None and not settings:
        return inspection.only()
    guesses: Sequence[Guess] = inspection.guesses
    if not guesses:
        inspection.only()
    if model is not None:
        zoo_spec = next((guess.spec for guess in guesses if guess.spec.name == model), None) or zoo.find(model).spec
        named = [guess for guess in guesses if guess.spec.name == model]
        seen = guesses[0].spec
        guesses = named or [dataclasses.replace(guesses[0], spec=dataclasses.replace(
            zoo_spec, classes=seen.classes, in_channels=seen.in_channels))]  # fmt: skip
    known = [field.name for field in dataclasses.fields(ResNetSpec)]
    for key in settings:
        if key not in known:
            raise UserError(f"A network has no setting '{key}'. It has: {', '.join(known)}.")
    fitting = [guess for guess in guesses if all(getattr(guess.spec, key) == value for key, value in settings.items())]
    found = {dataclasses.replace(guess.spec, **settings): guess for guess in fitting or guesses}
    doubts = traits.doubts(list(found)) if len(found) > 1 else ()
    left = [dataclasses.replace(guess, spec=spec, doubts=doubts) for spec, guess in found.items()]
    return dataclasses.replace(inspection, guesses=tuple(left)).only()
