"""Backbone: a stem, stages of blocks and pooling, without a classification head; FeatureMaps returns its feature maps."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.fx
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.blocks import Stage
from resnets.models.stems import Stem


class FeatureInfo(tuple[dict[str, Any], ...]):
    """For each feature map a dictionary: `num_chs`, channels; `reduction`, its stride; `module`, the layer that it is from."""

    def channels(self) -> list[int]:
        """The number of channels of each map."""
        return [info["num_chs"] for info in self]

    def reduction(self) -> list[int]:
        """The stride of each map, in pixels of the image."""
        return [info["reduction"] for info in self]

    def module_name(self) -> list[str]:
        """The layer that each map is from, by the names of `Backbone.features`."""
        return [info["module"] for info in self]

    def select(self, indices: Iterable[int]) -> Self:
        """That of some of the maps."""
        return type(self)(self[index] for index in indices)


class Backbone(nn.Sequential):
    """y = pool(final(stage_n(… stage_1(stem(x))))): a network without its classification head.

    Its children are its layers in the order in which they are called, so that
    `torchvision.models._utils.IntermediateLayerGetter` and `nn.Sequential(*list(net.children())[:-1])` read it as they
    read torchvision's networks.

    Args:
        stem: (N, in_channels, H, W) -> (N, stem.channels, H / stem.stride, W / stem.stride).
        stages: by name, "stage1", …
        final: norm and activation after the last block, which pre-activation networks need (He et al. 2016, appendix).
        pool: from the last feature maps to (N, C, 1, 1), which is returned as (N, C); None returns the feature maps.

    Attributes:
        feature_channels: the number of channels of each feature map that `features` returns, by name.
        feature_strides: of the same feature maps, in pixels of the image, by name.
        min_size: the least height and width of an image.
        fixed_size: the only height and width that fit, for a head with a fixed pooling window; None for all others.
        frozen_norms: the paths of the BN layers that stay in eval mode, so that their statistics do not move.
    """

    if TYPE_CHECKING:  # TorchScript would ask for such annotations of layers to be types of its own
        stem: Stem
        pool: nn.Module
    fixed_size: int | None
    if TYPE_CHECKING:
        frozen_norms: tuple[str, ...]
    # Read by torch.jit.script, which has no type for an empty tuple and no use for these.
    __jit_unused_properties__ = ["stages", "feature_info", "num_features", "head_hidden_size"]  # noqa: RUF012
    __jit_ignored_attributes__ = ["frozen_norms"]  # noqa: RUF012

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], final: nn.Module | None = None, pool: nn.Module | None = None
    ) -> None:
        after = {name: module for name, module in (("final", final), ("pool", pool)) if module is not None}
        super().__init__(OrderedDict([("stem", stem), *stages.items(), *after.items()]))
        self.pooled = pool is not None
        self.fixed_size = None
        self.feature_channels = {"stem": stem.channels} | {name: stage.channels for name, stage in stages.items()}
        self.feature_strides = {"stem": stem.stride}
        stride = stem.stride
        for name, stage in stages.items():
            stride *= stage.stride
            self.feature_strides[name] = stride
        if stem.has_pool:
            self.feature_channels = {"stem_conv": stem.channels} | self.feature_channels
            self.feature_strides = {"stem_conv": stem.stride // 2} | self.feature_strides
        self.min_size = least_size(stem, stages.values())
        self.frozen_norms = ()

    def __setattr__(self, name: str, value: Any) -> None:
        # A Sequential calls all its children: a layer with a new name would be appended to the network.
        if isinstance(value, nn.Module) and name not in self._modules:
            raise AttributeError(f"This network has no layer '{name}'; {self._advice()}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            raise AttributeError(str(error) if name.startswith("_") else f"{error}; {self._advice()}") from None

    def __getitem__(self, index: Any) -> Any:
        """A layer, or for a slice an nn.Sequential of layers."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; names of another library are an error of their own."""
        if strict and not state_dict.keys() & self.state_dict().keys() and state_dict:
            raise RuntimeError(
                f"These tensors have the names of another library, such as '{next(iter(state_dict))}'. Save them with "
                "torch.save, rename them with 'resnets weights convert FILE --to resnets --out NEW.safetensors', and give the "
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

    def features(self, x: Tensor, until: str | None = None) -> dict[str, Tensor]:
        """The feature maps of all levels, by name, for detection and segmentation.

        The names are "stem_conv" (before the stem's pooling, where it has one), "stem", then each stage. The shapes are
        (N, feature_channels[name], ceil(H / feature_strides[name]), ceil(W / feature_strides[name])). The last map is the
        result of `forward_features`.

        Args:
            x: images, (N, in_channels, H, W).
            until: the layer before which to stop; None for all maps.

        Raises:
            ValueError: the image is smaller than `min_size`.
        """
        check_size(x, self.min_size, self.fixed_size)
        maps: dict[str, Tensor] = {}
        for name, layer in self.stem.named_children():
            if name.startswith("pool") and not maps:
                maps["stem_conv"] = x
            x = layer(x)
        maps["stem"] = x
        for name, layer in self._middle():
            if name == until:
                break
            x = layer(x)
            maps[name if name != "final" else next(reversed(maps))] = x
        return maps

    def forward_intermediates(
        self, x: Tensor, indices: int | Sequence[int] | None = None, norm: bool = False, stop_early: bool = False,
        output_fmt: str = "NCHW", intermediates_only: bool = False,
    ) -> Any:  # fmt: skip
        """The result of `forward_features`, and a list of the maps in `feature_info`, as timm's networks return them.

        Args:
            x: images, (N, in_channels, H, W).
            indices: of the maps; an int for the last ones; None for all.
            norm: apply the norm and activation after the last block to the last map, too, where there are such.
            stop_early: compute nothing after the last chosen map, which is then the first result.
            output_fmt: the layout of the maps; there is only "NCHW".
            intermediates_only: return the list alone.

        Raises:
            ValueError: as `features` does, and for another layout.
            UserError: there is no such map.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"The maps have the layout NCHW; received output_fmt='{output_fmt}'.")
        names = self.feature_info.module_name()
        chosen = select_indices(len(names), indices, "indices")
        is_last = chosen[-1] == len(names) - 1
        until = self._layer_after(names[chosen[-1]]) if stop_early else "final"
        maps = self.features(x, until)
        intermediates = [maps[names[index]] for index in chosen]
        if intermediates_only and not (norm and is_last):
            return intermediates
        last = next(reversed(maps.values()))
        if "final" in self._modules and (is_last or not stop_early):
            last = self.final(last)
        if norm and is_last:
            intermediates[-1] = last
        return intermediates if intermediates_only else (last, intermediates)

    def _layer_after(self, name: str) -> str | None:
        """The layer behind that of a feature map; None behind the last one."""
        layers = [layer for layer, _ in self._middle()]
        following = layers.index(name) + 1 if name in layers else 0  # the maps of the stem come before all of them
        return layers[following] if following < len(layers) else None

    @property
    def feature_info(self) -> FeatureInfo:
        """The maps that `forward_intermediates` counts: that before the stem's pooling, and that of each stage."""
        names = ["stem_conv" if "stem_conv" in self.feature_channels else "stem", *self.stages]
        return FeatureInfo(
            {"num_chs": self.feature_channels[name], "reduction": self.feature_strides[name], "module": name}
            for name in names
        )

    @property
    def num_features(self) -> int:
        """The number of channels of the last feature map."""
        return list(self.feature_channels.values())[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What `forward` makes of the result of `forward_features`; here `pre_logits` has no effect."""
        return torch.flatten(self.pool(x), 1) if self.pooled else x

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of the names of parameters for timm's layer-wise learning rates (`timm.optim.param_groups_layer_decay`): stem,
        then each block, or each stage if `coarse`; what is left, the head, comes last.
        """
        final = (r"^final", (99999,))  # timm.models._manipulate.MATCH_PREV_GROUP: with the group before
        return {"stem": r"^stem", "blocks": [(r"^stage(\d+)" if coarse else r"^stage(\d+)\.block(\d+)", None), final]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: a block keeps its input only, and is computed again in the backward pass."""
        for stage in self.stages.values():
            stage.checkpointing = enable  # type: ignore[assignment]

    def _middle(self) -> Iterator[tuple[str, nn.Module]]:
        """The layers between the stem and the pooling."""
        return ((name, layer) for name, layer in self.named_children() if name not in ("stem", "pool", "head"))

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map only, before the pooling, (N, C, h, w); timm's method has the same name.

        `features` returns the maps of all levels, and raises the same error.
        """
        check_size(x, self.min_size, self.fixed_size)
        x = self.stem(x)  # (N, C, H / 4, W / 4) for ImageNet's stems
        for _, layer in self._middle():
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The last feature map, (N, C, h, w), or with a `pool` (N, C); raises as `features` does."""
        if not torch.jit.is_scripting():
            check_size(x, self.min_size, self.fixed_size)
        for layer in self:
            x = layer(x)
        return torch.flatten(x, 1) if self.pooled else x


class FeatureMaps(Backbone):
    """Images (N, in_channels, H, W) -> the chosen feature maps, in the order of the network, each (N, C, h, w).

    Maps are as the blocks return them: the last one of a pre-activation network is without the norm and activation that follow
    its blocks. Stages after the last chosen map are left out. The names of the tensors are those of the network.

    Args:
        backbone: shares its modules with this network.
        out_indices: of the maps in `backbone.feature_info`; None for all.

    Raises:
        UserError: there is no such map.
    """

    def __init__(self, backbone: Backbone, out_indices: Sequence[int] | None = None) -> None:
        chosen = select_indices(len(backbone.feature_info), out_indices, "out_indices")
        stages = list(backbone.stages.items())[: chosen[-1]]
        super().__init__(backbone.stem, dict(stages))  # type: ignore[arg-type]
        self.out_indices = chosen
        names = list(backbone.stem._modules)
        first = next((index for index, name in enumerate(names) if name.startswith("pool")), len(names))
        self._stem_layers = first  # number of layers of the stem before its pooling

    @property
    def feature_info(self) -> FeatureInfo:
        return super().feature_info.select(self.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        """The maps; raises as `features` does."""
        if not torch.jit.is_scripting():
            check_size(x, self.min_size, self.fixed_size)
        maps: list[Tensor] = []
        for i, layer in enumerate(self.stem):
            if i == self._stem_layers and 0 in self.out_indices:
                maps.append(x)
            x = layer(x)
        if len(self.stem) == self._stem_layers and 0 in self.out_indices:
            maps.append(x)
        for i, layer in enumerate(self):
            if i > 0:
                x = layer(x)
                if i in self.out_indices:
                    maps.append(x)
        return maps


def least_size(stem: Stem, stages: Iterable[Stage]) -> int:
    """The least height and width of an image."""
    after_stem = math.prod(stage.min_size for stage in stages)
    return stem.min_size + (after_stem - 1) * stem.stride


def check_size(x: Tensor, min_size: int, fixed_size: int | None) -> None:
    """Raise ValueError for images of a size that the network cannot take; a symbolic trace is not checked."""
    if isinstance(x, torch.fx.Proxy):
        return
    height, width = x.shape[-2:]
    if fixed_size and (height, width) != (fixed_size, fixed_size):
        raise ValueError(
            f"This network's fully connected layer was built for images of {fixed_size}x{fixed_size}; received "
            f"{height}x{width}. Build it with imgsz={height} for square images of that size."
        )
    if min(height, width) < min_size:
        raise ValueError(
            f"Images of {height}x{width} are too small for this network; the least height and width are {min_size}. "
            'Use larger images, or a network for small ones, such as one with stem="cifar".'
        )


def select_indices(count: int, indices: int | Sequence[int] | None, name: str) -> list[int]:
    """Indices of maps among `count`, ascending: all for None, the last n for a number n; negative ones count from the end.

    Raises:
        UserError: one is out of range, or there is none; the message calls them `name`.
    """
    if isinstance(indices, int):
        chosen = list(range(count - indices, count)) if 0 < indices <= count else []
    else:
        chosen = [index + count if index < 0 else index for index in (range(count) if indices is None else indices)]
    if not chosen or not all(0 <= index < count for index in chosen):
        raise UserError(
            f"This network has {count} feature maps, with indices 0 to {count - 1}; received {name}={indices}."
        )
    return sorted(set(chosen))
