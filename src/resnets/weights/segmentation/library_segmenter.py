"""What the files of torchvision and of segmentation_models_pytorch share: a segmenter that was recognized by its tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import SEGMENTATION, Checkpoint
from resnets.weights.formats import torchvision
from resnets.weights.formats.keymap import COUNTER, Keymap, Rule

FIRST = "conv1.weight"  # of the backbone


@dataclass(frozen=True)
class LibrarySegmenter:
    """A segmenter that the tensors of a file fit, and the names of its tensors in that file."""

    settings: SegmenterSettings
    spec: ResNetSpec
    num_classes: int
    rules: Sequence[Rule]

    @property
    def keymap(self) -> Keymap:
        """The names of the library and of resnets."""
        with torch.device("meta"):
            expected = build_segmenter(self.settings, self.spec, self.num_classes).state_dict()
        return Keymap(self.rules, expected)

    def with_settings(self, settings: Mapping[str, Any]) -> LibrarySegmenter:
        """The same with other values of what the tensors do not show, such as `output_stride`."""
        known = [field.name for field in dataclasses.fields(SegmenterSettings)]
        for key in settings:
            if key not in known:
                raise UserError(f"A segmenter has no setting '{key}'. It has: {', '.join(known)}.")
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, **settings))

    def to_checkpoint(
        self, tensors: Mapping[str, Tensor], preprocess: Preprocess, class_names: Sequence[str]
    ) -> Checkpoint:
        """The tensors of the file as a checkpoint of the task segmentation.

        Raises:
            UserError: tensors are missing, left over or of another shape, or the names do not fit the number of classes.
        """
        if len(class_names) != self.num_classes:
            raise UserError(f"{len(class_names)} class names do not fit a segmenter of {self.num_classes} classes.")
        found = self.keymap.to_resnets(tensors)
        return Checkpoint(
            spec=self.spec,
            preprocess=preprocess,
            class_names=tuple(class_names),
            tensors={key: each.float() if each.is_floating_point() else each for key, each in found.items()},
            task=SEGMENTATION,
            config=dataclasses.asdict(self.settings),
        )


def backbone_of(tensors: Mapping[str, Tensor], prefix: str) -> ResNetSpec:
    """The network of torchvision's whose tensors have these shapes behind a prefix.

    Raises:
        UserError: there is none.
    """
    shapes = {
        name.removeprefix(prefix): tensor.shape
        for name, tensor in tensors.items()
        if name.startswith(prefix) and not name.endswith(COUNTER)
    }
    in_channels = shapes[FIRST][1] if len(shapes.get(FIRST, ())) == 4 else 3
    for model in torchvision.NAMES:
        spec = zoo.get_spec(model, in_channels=in_channels)
        keymap = torchvision.keymap(spec, top=False)
        own = {keymap.pairs[name][0]: tensor.shape for name, tensor in keymap.expected_tensors.items()}
        if {name: shape for name, shape in own.items() if not name.endswith(COUNTER)} == shapes:
            return spec
    raise UserError("The backbone of this model is none of torchvision's.")


def numbered_class_names(num_classes: int) -> tuple[str, ...]:
    """ "class 0", "class 1", …, for files without names; 0 is usually the background."""
    return tuple(f"class {i}" for i in range(num_classes))
