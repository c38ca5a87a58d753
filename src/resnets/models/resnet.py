"""ResNet: a backbone with a classification head, built from modules that are passed in."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.backbone import Backbone, check_size, least_size
from resnets.models.blocks import Stage
from resnets.models.stems import Stem


class Head(nn.Module):
    """The classifier: pooled features (N, in_features) -> logits (N, num_classes).

    Args:
        in_features: length of the pooled vector, which is the number of channels for global pooling.
        num_classes: number of outputs; 0 for the input of the last layer in place of logits.
        hidden_dim: units of a fully connected layer with ReLU before the last one; 0 for none.

    Attributes:
        hidden_size: length of the input of the last layer, `fc`.
    """

    def __init__(self, in_features: int, num_classes: int, hidden_dim: int = 0) -> None:
        super().__init__()
        self.in_features = in_features
        if hidden_dim:
            self.hidden = nn.Linear(in_features, hidden_dim)
            self.act = nn.ReLU()
        self.hidden_size = hidden_dim or in_features
        self.fc: nn.Module = nn.Linear(self.hidden_size, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if hasattr(self, "hidden"):
            x = self.act(self.hidden(x))
        return x if pre_logits else self.fc(x)


class ResNet(Backbone):
    """y = head(pool(final(stage_n(… stage_1(stem(x)))))): a `Backbone` with a classification head."""

    if TYPE_CHECKING:
        head: Head

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], pool: nn.Module, head: Head, final: nn.Module | None = None,
        fixed_size: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(stem, stages, final, pool)
        self.add_module("head", head)
        self._last = len(self) - 1  # TorchScript cannot compute len(self)
        self.fixed_size = fixed_size
        self.min_size = fixed_size or self.min_size

    def _advice(self) -> str:
        return f"{super()._advice()} For other classes replace `net.fc`, which gives the logits, or `net.head`."

    # torchvision's name of the last layer, which users read and replace: `net.fc = nn.Linear(net.fc.in_features, 5)`.
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

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits; an `nn.Identity` after `reset_classifier(0)`."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a new one, in place.

        Args:
            num_classes: number of outputs; 0 for the pooled features in place of logits.
            global_pool: "avg" or "max" for another pooling; "" for feature maps (N, C, h, w) without pooling, which needs
                num_classes=0; None leaves it.

        Raises:
            UserError: another pooling, or classes without pooling.
        """
        pools: dict[str, type[nn.Module]] = {"avg": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d, "": nn.Identity}
        if global_pool is not None and global_pool not in pools:
            raise UserError(f"global_pool is 'avg', 'max', '' or None; received {global_pool!r}.")
        if num_classes and not (self.pooled if global_pool is None else global_pool):
            raise UserError(
                f"Classes need pooled features; received num_classes={num_classes} and global_pool={global_pool!r}."
            )
        like = next(self.parameters())
        if global_pool is not None:
            self.pool = pools[global_pool](1)
            self.pooled = bool(global_pool)
            self.fixed_size, self.min_size = None, least_size(self.stem, self.stages.values())  # type: ignore[arg-type]
        if global_pool is not None or not isinstance(self.head, Head):
            self.head = Head(self.num_features, num_classes).to(like)
        else:
            self.head.fc = Head(self.head.hidden_size, num_classes).fc.to(like)

    @property
    def head_hidden_size(self) -> int:
        """The length of the vector that `forward_head(pre_logits=True)` returns."""
        return self.head.hidden_size

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (N, num_classes) from the result of `forward_features`; with `pre_logits` what the last layer would receive."""
        x = super().forward_head(x)
        if not pre_logits:
            return self.head(x)
        return self.head(x, pre_logits=True) if isinstance(self.head, Head) else x

    def forward_pooled(self, x: Tensor) -> Tensor:
        """The pooled features, (N, head.in_features); raises as `features` does."""
        return torch.flatten(self.pool(self.forward_features(x)), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, num_classes); raises as `features` does."""
        if not torch.jit.is_scripting():
            check_size(x, self.min_size, self.fixed_size)
        for i, layer in enumerate(self):
            x = layer(torch.flatten(x, 1) if i == self._last and self.pooled else x)
        return x

    def backbone(self, pooling: str | None = None) -> Backbone:
        """The network without its head, with the same parameters.

        Args:
            pooling: None for feature maps (N, C, h, w), "avg" or "max" for pooled features (N, C).

        Returns:
            A backbone that shares the modules of this network.
        """
        pools = {None: None, "avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}
        if pooling not in pools:
            raise UserError(f"pooling is None, 'avg' or 'max'; received {pooling!r}.")
        return Backbone(self.stem, dict(self.stages.items()), self._modules.get("final"), pools[pooling])  # type: ignore[arg-type]


class PooledBackbone(nn.Module):
    """`net.forward_pooled` as a module that shares the modules of `net`: images (N, C, H, W) -> (N, head.in_features)."""

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.forward_pooled(x)


def find_backbone(model: nn.Module) -> Backbone:
    """The residual network in a model: the model itself, if it is one, else its attribute `backbone`."""
    backbone = model if isinstance(model, Backbone) else model.backbone
    assert isinstance(backbone, Backbone), type(backbone)
    return backbone


def head_modules(model: nn.Module) -> list[nn.Module]:
    """The children of a model that are not its backbone: the head of a `ResNet`; neck, head and so on of another model."""
    if isinstance(model, Backbone):
        return [model.head] if isinstance(model, ResNet) else []
    return [child for child in model.children() if child is not find_backbone(model)]


def head_tensor_names(model: nn.Module) -> list[str]:
    """The names, in the `state_dict()` of a model, of the parameters and buffers that are not its backbone's."""
    in_head = {id(tensor) for module in head_modules(model) for tensor in module.state_dict(keep_vars=True).values()}
    return [name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in in_head]
