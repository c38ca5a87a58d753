"""The network: a stem, stages of blocks, a head. It is built from parts and knows no specification."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
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
    """Pooling and the classifier: (N, C, H, W) -> (N, classes).

    `hidden` is a fully connected layer with ReLU between the two. `features` is the length of the pooled vector: C for
    global pooling.
    """

    def __init__(self, pool: nn.Module, features: int, classes: int, hidden: int = 0) -> None:
        super().__init__()
        self.pool = pool
        self.features = features
        if hidden:
            self.hidden = nn.Linear(features, hidden)
            self.act = nn.ReLU()
        self.fc = nn.Linear(hidden or features, classes)

    def embed(self, x: Tensor) -> Tensor:
        """The pooled vector, (N, features)."""
        return torch.flatten(self.pool(x), 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        if hasattr(self, "hidden"):
            x = self.act(self.hidden(x))
        return self.fc(x)


class Backbone(nn.Module):
    """y = pool(final(stage_n(… stage_1(stem(x))))): a network without its classifier.

    Args:
        stem: (N, in_channels, H, W) -> (N, stem.channels, H / stem.stride, W / stem.stride).
        stages: "stage1", … -> its blocks.
        final: norm and activation after the last block, which pre-activation networks need (He et al. 2016, appendix).
        pool: from the last maps to (N, C, 1, 1), which comes out as (N, C); None leaves the maps.

    Attributes:
        channels: of each stage's maps by stage name, the stem's under "stem".
        strides: pixels of the picture for one place of the maps, likewise.
        min_side: the least height and width of a picture.
        only_side: the height and width that fit, for a head whose pooling window is fixed; None for all others.
    """

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], final: nn.Module | None = None, pool: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleDict(stages)
        self.final = final or nn.Identity()
        self.pool = pool
        self.only_side: int | None = None
        self.channels = {"stem": stem.channels} | {name: stage.channels for name, stage in stages.items()}
        self.strides = {"stem": stem.stride}
        stride = stem.stride
        for name, stage in stages.items():
            stride *= stage.stride
            self.strides[name] = stride
        self.min_side = max(stride, stem.min_side)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The maps by name: "stem", then each stage, (N, channels[name], ceil(H / strides[name]), …); the last one is
        what is pooled.

        Raises:
            ValueError: the picture is smaller than `min_side`.
        """
        check_side(x, self.min_side, self.only_side)
        x = self.stem(x)
        maps = {"stem": x}
        for name, stage in self.stages.items():
            x = stage(x)
            maps[name] = x
        maps[name] = self.final(x)
        return maps

    def maps(self, x: Tensor) -> Tensor:
        """Those of the last stage, (N, C, h, w); raises as `features` does."""
        check_side(x, self.min_side, self.only_side)
        x = self.stem(x)  # (N, C, H / 4, W / 4) for ImageNet's stems
        for stage in self.stages.values():
            x = stage(x)
        return self.final(x)

    def forward(self, x: Tensor) -> Tensor:
        """The maps, (N, C, h, w), or with a `pool` (N, C); raises as `features` does."""
        x = self.maps(x)
        return x if self.pool is None else torch.flatten(self.pool(x), 1)


class ResNet(Backbone):
    """y = head(final(stage_n(… stage_1(stem(x))))): a `Backbone` and the head that reads its last maps."""

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], head: Head, final: nn.Module | None = None,
        only_side: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(stem, stages, final)
        self.head = head
        self.only_side = only_side
        self.min_side = only_side or self.min_side

    def embed(self, x: Tensor) -> Tensor:
        """The pooled vector, (N, C); raises as `features` does."""
        return self.head.embed(self.maps(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, classes); raises as `features` does."""
        return self.head(self.maps(x))

    def backbone(self, pooling: str | None = None) -> Backbone:
        """The same parameters without the head: maps, or vectors for a `pooling` of "avg" or "max"."""
        pools = {None: None, "avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}
        if pooling not in pools:
            raise UserError(f"pooling is None, 'avg' or 'max'; received {pooling!r}.")
        return Backbone(self.stem, dict(self.stages.items()), self.final, pools[pooling])  # type: ignore[arg-type]


@torch.fx.wrap
def check_side(x: Tensor, min_side: int, only_side: int | None) -> None:
    """Raise ValueError for pictures that the strides do not allow."""
    height, width = x.shape[-2:]
    if only_side and (height, width) != (only_side, only_side):
        raise ValueError(
            f"This network's fully connected layer was built for pictures of {only_side}x{only_side}; received "
            f"{height}x{width}. Build it with imgsz={height} for square pictures of that side."
        )
    if min(height, width) < min_side:
        raise ValueError(
            f"This network halves its maps too often for pictures of {height}x{width}; the least side is {min_side}. "
            'Use larger pictures or a network for small ones, such as stem="cifar".'
        )
