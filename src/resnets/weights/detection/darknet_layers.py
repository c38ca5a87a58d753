"""The layers of a YOLOv3 in darknet's words, and the tensors in the order in which darknet stores them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from resnets.errors import UserError
from resnets.models.blocks import BasicBranch, BottleneckBranch, PlainBlock, ResidualBlock
from resnets.models.detection.yolo.neck import Scale
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.layers import SameConv2d
from resnets.models.shortcuts import Projection

SectionValue = int | float | str


@dataclass(frozen=True)
class Section:
    """A section of a `.cfg`, such as "convolutional" with {"filters": 64}."""

    kind: str
    values: dict[str, SectionValue]


@dataclass
class DarknetLayers:
    """Sections in order, from which the last is fed into the next, and the modules whose tensors are stored, in order."""

    sections: list[Section] = field(default_factory=list)
    convolutions: list[tuple[nn.Conv2d, nn.BatchNorm2d | None]] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The index of the last layer."""
        return len(self.sections) - 1

    def add(self, kind: str, **values: SectionValue) -> None:
        self.sections.append(Section(kind, values))

    def convolution(self, conv: nn.Module, norm: nn.Module | None, activation: str) -> None:
        if (
            not isinstance(conv, nn.Conv2d)
            or isinstance(conv, SameConv2d)
            or conv.padding != (conv.kernel_size[0] // 2,) * 2
            or conv.dilation != (1, 1)
            or (norm is not None and (not isinstance(norm, nn.BatchNorm2d) or conv.bias is not None))
        ):
            raise UserError(f"darknet has no layer for {conv} followed by {norm}.")
        values: dict[str, SectionValue] = {"batch_normalize": 1} if norm is not None else {}
        values |= {"filters": conv.out_channels, "size": conv.kernel_size[0], "stride": conv.stride[0], "pad": 1}
        values |= {"groups": conv.groups} if conv.groups > 1 else {}
        self.add("convolutional", **values, activation=activation)
        self.convolutions.append((conv, norm))

    def chain(self, modules: Sequence[nn.Module], last_activation: str | None = None) -> None:
        """Layers of convolution, norm and activation, or of the stem's pooling; `last_activation` follows the last of them."""
        words = {nn.ReLU: "relu", nn.LeakyReLU: "leaky"}
        modules = [module for module in modules if not isinstance(module, nn.Identity)]
        while modules:
            conv, *modules = modules
            if isinstance(conv, nn.MaxPool2d) and (conv.kernel_size, conv.stride, conv.padding) == (3, 2, 1):
                self.add("maxpool", size=3, stride=2)
                continue
            norm, *modules = modules
            activation = last_activation or "linear"
            if modules:
                act, *modules = modules
                if type(act) not in words:
                    raise UserError(f"darknet has no layer for {type(act).__name__} in a residual network.")
                activation = words[type(act)]
            self.convolution(conv, norm, activation)


def layers_of(model: YOLOv3) -> DarknetLayers:
    """The layers of a detector without the section [net].

    Raises:
        UserError: the backbone has something else than convolutions with batch normalization, ReLU, sums and 1x1 projections.
    """
    layers = DarknetLayers()
    backbone, levels = model.backbone, model.levels
    ends: dict[str, int] = {}
    layers.chain(list(backbone.stem))
    ends["stem"] = layers.last
    for name, stage in backbone.stages.items():
        for block in stage.children():
            _add_block(layers, block)
        ends[name] = layers.last
    if len(levels.norms) or hasattr(backbone, "final"):
        raise UserError("darknet has no layer for the norms of a pre-activation network.")
    if max(levels.names) > max(levels.strides):
        raise UserError(
            f"darknet has no place for the stage of stride {max(levels.names)}, which YOLOv3 does not read."
        )
    at = {stride: ends[name] for stride, name in levels.names.items()}
    stride = max(at)
    _continue_from(layers, at[stride])
    for new in levels.new.children():
        layers.chain(list(new.children()))
        stride *= 2
        at[stride] = layers.last
    _add_neck(layers, model, [at[stride] for stride in levels.strides])
    return layers


def _add_block(layers: DarknetLayers, block: nn.Module) -> None:
    """The branch, the projection of the input, and their sum."""
    branch = getattr(block, "branch", None)
    if not isinstance(branch, BasicBranch | BottleneckBranch) or not isinstance(block, ResidualBlock | PlainBlock):
        raise UserError(f"darknet has no layer for {type(block).__name__} with {type(branch).__name__}.")
    if not isinstance(branch.attention, nn.Identity):
        raise UserError(f"darknet has no layer for {type(branch.attention).__name__}.")
    entry = layers.last
    plain = isinstance(block, PlainBlock)
    layers.chain(list(branch.children()), last_activation="relu" if plain else None)
    if plain:
        return
    other = entry
    if isinstance(block.shortcut, Projection):
        other = layers.last
        layers.add("route", layers=entry)
        layers.chain(list(block.shortcut.children()))
    elif not isinstance(block.shortcut, nn.Identity):
        raise UserError(f"darknet has no layer for the shortcut {type(block.shortcut).__name__}; it has option B.")
    layers.add("shortcut", **{"from": other - layers.last - 1}, activation="relu")


def _add_neck(layers: DarknetLayers, model: YOLOv3, maps: Sequence[int]) -> None:
    """The scales from the largest stride to the smallest; `maps` are the layers of the feature maps, smallest stride first."""
    num_levels, per_level = model.anchors.shape[:2]
    anchors = ",".join(f"{value:g}" for value in model.anchors.flatten().tolist())
    _continue_from(layers, maps[-1])
    for index, scale in enumerate(model.neck.scales):
        assert isinstance(scale, Scale)
        for layer in scale.set:
            layers.chain(list(layer.children()))
        end = layers.last
        layers.chain(list(scale.tip.children()))
        layers.convolution(scale.prediction, None, "linear")
        level = num_levels - 1 - index
        mask = ",".join(str(level * per_level + i) for i in range(per_level))
        layers.add(
            "yolo", mask=mask, anchors=anchors, classes=scale.prediction.out_channels // per_level - 5,
            num=num_levels * per_level, ignore_thresh=model.settings.ignore_iou, truth_thresh=1,
        )  # fmt: skip
        if level:
            layers.add("route", layers=end)
            layers.chain(list(model.neck.routes[index].children()))
            layers.add("upsample", stride=2)
            layers.add("route", layers=f"{layers.last},{maps[level - 1]}")


def _continue_from(layers: DarknetLayers, index: int) -> None:
    if index != layers.last:
        layers.add("route", layers=index)
