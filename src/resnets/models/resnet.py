"""The network: a stem, stages of blocks, a head. It is built from parts and knows no specification."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.fx
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.blocks import Block
from resnets.models.stems import Stem


class Stage(nn.Sequential):
    """Blocks named block1, block2, …; its `channels` and its `stride` are those of its blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__(OrderedDict((f"block{i}", block) for i, block in enumerate(blocks, start=1)))
        self.channels = blocks[-1].channels
        self.stride = 1
        for block in blocks:
            self.stride *= block.stride


class Head(nn.Module):
    """The classifier: pooled vectors (N, features) -> (N, classes).

    `hidden` is a fully connected layer with ReLU before the last one. `features` is the length of the pooled vector: C
    for global pooling.
    """

    def __init__(self, features: int, classes: int, hidden: int = 0) -> None:
        super().__init__()
        self.features = features
        if hidden:
            self.hidden = nn.Linear(features, hidden)
            self.act = nn.ReLU()
        self.fc = nn.Linear(hidden or features, classes)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "hidden"):
            x = self.act(self.hidden(x))
        return self.fc(x)


class Backbone(nn.Sequential):
    """y = pool(final(stage_n(… stage_1(stem(x))))): a network without its classifier.

    Its children are its layers in the order in which they are called, so that
    `torchvision.models._utils.IntermediateLayerGetter` and `nn.Sequential(*list(net.children())[:-1])` read it as they
    read torchvision's networks.

    Args:
        stem: (N, in_channels, H, W) -> (N, stem.channels, H / stem.stride, W / stem.stride).
        stages: "stage1", … -> its blocks.
        final: norm and activation after the last block, which pre-activation networks need (He et al. 2016, appendix).
        pool: from the last maps to (N, C, 1, 1), which comes out as (N, C); None leaves the maps.

    Attributes:
        channels: of each of the maps that `features` gives, by name.
        strides: pixels of the image for one place of the maps, likewise.
        min_side: the least height and width of an image.
        only_side: the height and width that fit, for a head whose pooling window is fixed; None for all others.
        frozen_norms: the paths of the BN layers that stay in eval mode, so that their statistics do not move.
    """

    if TYPE_CHECKING:  # TorchScript would ask for such annotations of layers to be types of its own
        stem: Stem
        pool: nn.Module
    only_side: int | None
    if TYPE_CHECKING:
        frozen_norms: tuple[str, ...]
    # Read by torch.jit.script, which has no type for an empty tuple and no use for these.
    __jit_unused_properties__ = ["stages"]  # noqa: RUF012
    __jit_ignored_attributes__ = ["frozen_norms"]  # noqa: RUF012

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], final: nn.Module | None = None, pool: nn.Module | None = None
    ) -> None:
        after = {name: module for name, module in (("final", final), ("pool", pool)) if module is not None}
        super().__init__(OrderedDict([("stem", stem), *stages.items(), *after.items()]))
        self.pooled = pool is not None
        self.only_side = None
        self.channels = {"stem": stem.channels} | {name: stage.channels for name, stage in stages.items()}
        self.strides = {"stem": stem.stride}
        stride = stem.stride
        for name, stage in stages.items():
            stride *= stage.stride
            self.strides[name] = stride
        if stem.has_pool:
            self.channels = {"stem_conv": stem.channels} | self.channels
            self.strides = {"stem_conv": stem.stride // 2} | self.strides
        self.min_side = stem.min_side
        self.frozen_norms = ()

    def __setattr__(self, name: str, value: Any) -> None:
        # Whatever is a child of a Sequential is called: a layer with a new name would not be ignored, it would be appended.
        if isinstance(value, nn.Module) and name not in self._modules:
            raise AttributeError(f"This network has no layer '{name}'; {self._advice()}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            raise AttributeError(str(error) if name.startswith("_") else f"{error}; {self._advice()}") from None

    def __getitem__(self, index: Any) -> Any:
        """A layer; for a slice an nn.Sequential of layers, as of torchvision's children."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; tensors by another library's names are told from missing ones."""
        if strict and not state_dict.keys() & self.state_dict().keys() and state_dict:
            raise RuntimeError(
                f"These tensors have other names than this network's, such as '{next(iter(state_dict))}'. Save them with "
                "torch.save, let 'resnets weights convert FILE --to resnets --out NEW.safetensors' rename them, and give the "
                "new file as `weights`."
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for path in self.frozen_norms:
            self.get_submodule(path).eval()
        return self

    def _advice(self) -> str:
        return f"its layers are {', '.join(self._modules)}."

    @property
    def stages(self) -> nn.ModuleDict:
        """The stages by name, in order."""
        return nn.ModuleDict({name: stage for name, stage in self.named_children() if isinstance(stage, Stage)})

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The maps by name: "stem_conv", those before the stem's pooling (where it has one), "stem", then each stage,
        (N, channels[name], ceil(H / strides[name]), …); the last one is what is pooled.

        Raises:
            ValueError: the image is smaller than `min_side`.
        """
        check_side(x, self.min_side, self.only_side)
        maps: dict[str, Tensor] = {}
        for name, layer in self.stem.named_children():
            if name.startswith("pool") and not maps:
                maps["stem_conv"] = x
            x = layer(x)
        maps["stem"] = x
        for name, layer in self._body():
            x = layer(x)
            maps[name if name != "final" else next(reversed(maps))] = x
        return maps

    def _body(self) -> Iterator[tuple[str, nn.Module]]:
        """What stands between the stem and the pooling."""
        return ((name, layer) for name, layer in self.named_children() if name not in ("stem", "pool", "head"))

    def maps(self, x: Tensor) -> Tensor:
        """Those of the last stage, (N, C, h, w); raises as `features` does."""
        check_side(x, self.min_side, self.only_side)
        x = self.stem(x)  # (N, C, H / 4, W / 4) for ImageNet's stems
        for _, layer in self._body():
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The maps, (N, C, h, w), or with a `pool` (N, C); raises as `features` does."""
        if not torch.jit.is_scripting():
            check_side(x, self.min_side, self.only_side)
        for layer in self:
            x = layer(x)
        return torch.flatten(x, 1) if self.pooled else x


class ResNet(Backbone):
    """y = head(pool(final(stage_n(… stage_1(stem(x)))))): a `Backbone` and the head that reads its pooled vector."""

    if TYPE_CHECKING:
        head: Head

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], pool: nn.Module, head: Head, final: nn.Module | None = None,
        only_side: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(stem, stages, final, pool)
        self.add_module("head", head)
        self._last = len(self) - 1  # TorchScript knows no len(self)
        self.only_side = only_side
        self.min_side = only_side or self.min_side

    def _advice(self) -> str:
        return f"{super()._advice()} For other classes replace `net.fc`, which gives the logits, or `net.head`."

    # torchvision's name of the last layer, which programs read and replace: `net.fc = nn.Linear(net.fc.in_features, 5)`.
    def __getattr__(self, name: str) -> Any:
        if name == "fc":
            return self.head.fc if isinstance(self.head, Head) else self.head
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "fc":
            super().__setattr__(name, value)
        elif isinstance(self.head, Head):
            self.head.fc = value
        else:
            self.head = value

    def embed(self, x: Tensor) -> Tensor:
        """The pooled vector, (N, head.features); raises as `features` does."""
        return torch.flatten(self.pool(self.maps(x)), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, classes); raises as `features` does."""
        if not torch.jit.is_scripting():
            check_side(x, self.min_side, self.only_side)
        for i, layer in enumerate(self):
            x = layer(torch.flatten(x, 1) if i == self._last else x)
        return x

    def backbone(self, pooling: str | None = None) -> Backbone:
        """The same parameters without the head: maps, or vectors for a `pooling` of "avg" or "max"."""
        pools = {None: None, "avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}
        if pooling not in pools:
            raise UserError(f"pooling is None, 'avg' or 'max'; received {pooling!r}.")
        return Backbone(self.stem, dict(self.stages.items()), self._modules.get("final"), pools[pooling])  # type: ignore[arg-type]


def check_side(x: Tensor, min_side: int, only_side: int | None) -> None:
    """Raise ValueError for images that the strides do not allow. A symbolic trace has no image: nothing is checked."""
    if isinstance(x, torch.fx.Proxy):
        return
    height, width = x.shape[-2:]
    if only_side and (height, width) != (only_side, only_side):
        raise ValueError(
            f"This network's fully connected layer was built for images of {only_side}x{only_side}; received "
            f"{height}x{width}. Build it with imgsz={height} for square images of that side."
        )
    if min(height, width) < min_side:
        raise ValueError(
            f"This network shrinks its maps too often for images of {height}x{width}; the least side is {min_side}. "
            'Use larger images or a network for small ones, such as stem="cifar".'
        )
