"""New dense networks from one number to one number, with and without shortcuts and batch norm (Balduzzi et al. 2017)."""

import copy

import torch
from torch import Tensor, nn

SMALL_BRANCH = 0.1  # the paper's beta
PLAIN, RESIDUAL, LINEAR, SHALLOW = "plain", "residual", "plain, looks linear", "one layer"
REMOVED, RECTIFIED = "residual, shortcuts removed", "residual, rectified"


class Layer(nn.Module):
    """h + `beta` W relu(norm(h)); without a shortcut W relu(norm(h)). The norm takes its statistics over all points."""

    def __init__(self, weight: Tensor, norm: nn.Module, shortcut: bool, beta: float) -> None:
        super().__init__()
        self.norm = norm
        self.weight = nn.Parameter(weight)
        self.shortcut, self.beta = shortcut, beta

    def forward(self, h: Tensor) -> Tensor:
        branch = self.beta * torch.relu(self.norm(h)) @ self.weight.T
        return h + branch if self.shortcut else branch

    @torch.no_grad()
    def passes_on(self) -> bool:
        """Whether the output is the input where all weights are 0."""
        h = torch.linspace(-1, 1, 2 * len(self.weight), dtype=self.weight.dtype).reshape(2, -1)
        zeroed = copy.deepcopy(self)
        nn.init.zeros_(zeroed.weight)
        return zeroed(h).equal(h)


def network(kind: str, depth: int, width: int, seed: int) -> nn.Sequential:
    """A network of `depth` layers from one number to one number: weights as of He et al., of the first layer N(0, 1).

    `LINEAR` has no norm: relu(h) and relu(-h) with opposite orthogonal weights add up to a linear function (Balduzzi et al.
    2017, section 5). `REMOVED` is the residual network without its shortcuts. `RECTIFIED` has a ReLU after the first layer too,
    and no norm before the last one: the paper says neither.
    """
    generator, half = torch.Generator().manual_seed(seed), width // 2

    def normal(*shape: int, std: float) -> Tensor:
        return std * torch.randn(*shape, generator=generator, dtype=torch.float64)

    def norm() -> nn.Module:
        if kind in (LINEAR, SHALLOW):
            return nn.Identity()
        return nn.BatchNorm1d(width, affine=False, track_running_stats=False)

    first, last = nn.Linear(1, width, dtype=torch.float64), nn.Linear(width, 1, dtype=torch.float64)
    weight, bias, final = normal(width, 1, std=1.0), normal(width, std=1.0), normal(1, width, std=width**-0.5)
    matrices = [normal(width, width, std=(2 / width) ** 0.5) for _ in range(0 if kind == SHALLOW else depth - 2)]
    if kind == LINEAR:
        weight, bias = torch.cat([weight[:half], -weight[:half]]), torch.cat([bias[:half], -bias[:half]])
        final = torch.cat([final[:, :half], -final[:, :half]], 1)
        small = [nn.init.orthogonal_(matrix[:half, :half].clone(), generator=generator) for matrix in matrices]
        matrices = [torch.cat([torch.cat([each, -each], 1), torch.cat([-each, each], 1)]) for each in small]
    first.weight, first.bias, last.weight = nn.Parameter(weight), nn.Parameter(bias), nn.Parameter(final)
    beta = SMALL_BRANCH if kind in (RESIDUAL, REMOVED, RECTIFIED) else 1.0
    layers = [Layer(matrix, norm(), kind in (RESIDUAL, RECTIFIED), beta) for matrix in matrices]
    if kind == RECTIFIED:
        return nn.Sequential(first, nn.ReLU(), *layers, nn.ReLU(), last)
    return nn.Sequential(first, *layers, norm(), nn.ReLU(), last)
