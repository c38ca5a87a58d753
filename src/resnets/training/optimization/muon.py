"""Muon for the kernels of convolutions, and SGD for all other parameters, as one optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Muon, Optimizer

ITERATIONS = 3  # of Newton and Schulz; those of KellerJordan/cifar10-airbench


class MuonAndSGD(Optimizer):
    """The groups with `muon=True` by `torch.optim.Muon`, the others by `torch.optim.SGD` with Nesterov momentum.

    `torch.optim.Muon` takes matrices. A kernel (out, in, h, w) is one of shape (out, in * h * w). Its update is an approximately
    orthogonal matrix; another order of the columns of the gradient is the same order of those of the update. Before its
    step, a kernel is scaled to the norm sqrt(out), as in KellerJordan/cifar10-airbench (airbench94_muon.py), so that the lr is
    relative to it.

    Args:
        groups: each with "params", "lr", "weight_decay" and "muon". Groups of Muon have tensors of four dimensions; they are not
            decayed.
        momentum: of Muon, with Nesterov's rule.
        sgd_momentum: of SGD.
    """

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float, sgd_momentum: float) -> None:
        super().__init__(groups, {"momentum": momentum, "sgd_momentum": sgd_momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step; parameters without a gradient are left out."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [value for value in group["params"] if value.grad is not None]
            if params and group["muon"]:
                self._muon_step(params, group)
            elif params:
                self._sgd_step(params, group)
        return loss

    def _muon_step(self, kernels: list[Tensor], group: dict[str, Any]) -> None:
        matrices = []
        for kernel in kernels:
            assert kernel.grad is not None
            kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
            matrices.append(nn.Parameter(_as_matrix(kernel)))
            matrices[-1].grad = _as_matrix(kernel.grad)
        for kernel, matrix in zip(kernels, matrices, strict=True):
            # Muon multiplies the lr by this; see `adjust_lr_fn`.
            scale = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
            muon = Muon(
                [matrix], group["lr"] / scale, weight_decay=0.0, momentum=group["momentum"], ns_steps=ITERATIONS,
                adjust_lr_fn="original",
            )  # fmt: skip
            muon.state[matrix] = self.state[kernel]
            muon.step()
            if matrix.data_ptr() != kernel.data_ptr():
                kernel.copy_(_as_kernel(matrix.detach(), kernel))

    def _sgd_step(self, params: list[Tensor], group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        sgd = SGD(params, group["lr"], momentum=group["sgd_momentum"], weight_decay=decay, nesterov=True)
        for value in params:
            sgd.state[value] = self.state[value]
        sgd.step()


def _as_matrix(kernel: Tensor) -> Tensor:
    return kernel.permute(0, 2, 3, 1).flatten(1)  # without a copy in the layout channels_last


def _as_kernel(matrix: Tensor, like: Tensor) -> Tensor:
    out, channels, height, width = like.shape
    return matrix.view(out, height, width, channels).permute(0, 3, 1, 2)
