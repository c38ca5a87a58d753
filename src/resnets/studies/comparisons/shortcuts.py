"""`shortcuts`: networks with other shortcuts than the identity (He et al. 2016, table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from resnets.message_format import pluralize
from resnets.recipes.recipe import Recipe
from resnets.studies.comparisons.block_factors import block_factors
from resnets.studies.comparisons.differences import REFERENCE_NOT_LEARNED, draw_forest, paired, reference_not_learned
from resnets.studies.measurements.edit_blocks import blocks_of_one_shape
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import TEST_ERROR, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnets.models.resnet import ResNet


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        model: the changes of the recipe's `model`.
        published: the error of ResNet-110 in percent; None for "fail", which is more than 20 %.
        factors: by which the shortcut and the branch are multiplied in a new network, with the weights of its gates at zero; None
            for a shortcut that is a convolution.
    """

    model: Mapping[str, Any]
    published: float | None
    factors: tuple[float | None, float]


ORIGINAL, ORIGINAL_ERROR = "original", 6.61
_OPEN, _CLOSED = 0.5, float(torch.sigmoid(torch.tensor(-6.0, dtype=torch.float64)))  # gates with a bias of 0 and of -6
VARIANTS = {
    ORIGINAL: Variant({}, ORIGINAL_ERROR, (1, 1)),
    "0.5 and 0.5": Variant({"block": "scaled", "shortcut_scale": 0.5, "branch_scale": 0.5}, 12.35, (0.5, 0.5)),
    "1x1": Variant({"shortcut": "C"}, 12.22, (None, 1)),
    "plain": Variant({"block": "plain"}, None, (0, 1)),
    "0.5 and 1": Variant({"block": "scaled", "shortcut_scale": 0.5}, None, (0.5, 1)),
    "exclusive gate, -6": Variant({"block": "gated", "gate_bias": -6.0}, 8.70, (1 - _CLOSED, _CLOSED)),
    "shortcut gate, 0": Variant({"block": "gated_shortcut", "gate_bias": 0.0}, 12.86, (1 - _OPEN, 1)),
    "shortcut gate, -6": Variant({"block": "gated_shortcut", "gate_bias": -6.0}, 6.91, (1 - _CLOSED, 1)),
    "dropout 0.5": Variant({"shortcut_dropout": 0.5}, None, (0.5, 1)),
}


def recipe(name: str, seed: int, numbers: Mapping[str, int]) -> Recipe:
    """The recipe of a variant."""
    base = cifar_training.recipe(f"cifar_resnet{numbers['depth']}", seed, numbers)
    return replace(base, model=replace(base.model, **VARIANTS[name].model))


def runs(numbers: Mapping[str, int], seeds: Sequence[int]) -> list[Training]:
    """The first `numbers["variants"]` variants, and the beginning of the original twice."""
    return cifar_training.all_runs(
        lambda name, seed: recipe(name, seed, numbers), list(VARIANTS)[: numbers["variants"]], ORIGINAL, seeds
    )


def measure(setup: Setup) -> Measurement:
    """The test error of each variant minus that of the original, by seed."""
    names = list(VARIANTS)[: setup.numbers["variants"]]
    effects = {name: paired(setup, name, ORIGINAL, TEST_ERROR) for name in names[1:]}
    obstacle = reference_not_learned(setup, [ORIGINAL])
    controls = cifar_training.equal_controls(setup, "one network trained twice")
    controls += [factor_control(name, cifar_training.new_network(recipe(name, 0, setup.numbers))) for name in names]
    rows = training_curves.rows_of(setup, names)
    return Measurement(rows, effects, controls, dict.fromkeys(effects, obstacle))


def factor_control(name: str, net: ResNet) -> Control:
    """Whether the shortcut and the branch of each block of a new network have the factors of the variant."""
    found = {block: block_factors(each) for block, each in blocks_of_one_shape(net).items()}
    wrong = [block for block, factors in found.items() if not _equal(factors, VARIANTS[name].factors)]
    where = wrong[0] if wrong else next(iter(found))
    words = ["other than a factor" if each is None else f"{each:.4g}" for each in found[where]]
    blocks = f"in {where}" if wrong else f"in {pluralize(len(found), 'block')}"
    return Control(f"{name}: factors of shortcut and branch", f"{' and '.join(words)} {blocks}", not wrong)


def _equal(factors: tuple[float | None, float], others: tuple[float | None, float]) -> bool:
    return all(
        (one is None) == (other is None) and (one is None or other is None or abs(one - other) < 1e-9)
        for one, other in zip(factors, others, strict=True)
    )


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The differences from the original as a forest plot; those of the paper, of longer trainings of ResNet-110, dotted."""
    published = {name: each.published and each.published - ORIGINAL_ERROR for name, each in VARIANTS.items()}
    names = [name for name in VARIANTS if name != ORIGINAL and any(row["network"] == name for row in rows)]
    draw_forest(page.subplots(), rows, {name: (name, ORIGINAL) for name in names}, published)


_SHORT = {"depth": 56, "variants": 9, "batch": 128, "imgsz": 32, "steps": 4_000, "window": 100, "images": 10_000}
STUDY = Study(
    name="shortcuts",
    claim="Scaled, gated, projected and dropped shortcuts, and none, give a higher test error than identity shortcuts.",
    paper="He et al. 2016, Identity Mappings in Deep Residual Networks, table 1",
    published="ResNet-110: original 6.61; 0.5 and 0.5: 12.35; 1x1: 12.22; exclusive gate at -6: 8.70; shortcut gate at 0: 12.86, "
    "at -6: 6.91; none, 0.5 and 1, dropout 0.5: more than 20",
    statistic="test error of the variant minus that of the original network, in points",
    unit=SEED,
    rule=Rule(
        "greater", 0.0, 0.3, least_count=3, undecided_if=REFERENCE_NOT_LEARNED
    ),  # 0.3: the paper's smallest difference
    control="in each block that keeps the shape, shortcut and branch have the factors of the variant; one network trained "
    "twice: 0 exactly",
    protocols={
        "paper": {**_SHORT, "depth": 110, "steps": 64_000},
        "short": _SHORT,
        "minutes": {**_SHORT, "depth": 32, "variants": 4, "imgsz": 16, "steps": 1_500},
    },
    data=None,
    measure=measure,
    draw=draw,
    runs=runs,
    seeds=3,
)
