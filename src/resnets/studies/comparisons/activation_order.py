"""`activation-order`: where norm and activation stand in a residual block (He et al. 2016, tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from resnets.message_format import pluralize
from resnets.models.resnet import ResNet
from resnets.models.summary import graph
from resnets.recipes.recipe import Recipe
from resnets.studies.comparisons.differences import REFERENCE_NOT_LEARNED, draw_forest, paired, reference_not_learned
from resnets.studies.measurements.edit_blocks import named_blocks
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import TEST_ERROR, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Order:
    """A row of the table.

    Attributes:
        model: the changes of the recipe's `model`.
        published: the error of ResNet-110 in percent.
        layers: of a block, in figure 4 of the paper from top to bottom.
    """

    model: Mapping[str, Any]
    published: float
    layers: str


ORIGINAL, NORM_AFTER, ACT_BEFORE, ACT_ONLY, FULL = (
    "original", "BN after addition", "ReLU before addition", "ReLU-only pre-activation", "full pre-activation",
)  # fmt: skip
ORDERS = {
    ORIGINAL: Order({}, 6.61, "weight BN ReLU weight BN + ReLU"),
    NORM_AFTER: Order({"block": "norm_after"}, 8.17, "weight BN ReLU weight + BN ReLU"),
    ACT_BEFORE: Order({"block": "act_before"}, 7.84, "weight BN ReLU weight BN ReLU +"),
    ACT_ONLY: Order({"block": "act_only"}, 6.71, "ReLU weight BN ReLU weight BN +"),
    FULL: Order({"preactivation": True}, 6.37, "BN ReLU weight BN ReLU weight +"),
}
# Each has the order that the paper finds worse first; it calls ReLU-only and the original similar, so they are not compared.
PAIRS = {
    "BN after addition - original": (NORM_AFTER, ORIGINAL),
    "ReLU before addition - original": (ACT_BEFORE, ORIGINAL),
    "ReLU-only - full pre-activation": (ACT_ONLY, FULL),
    "original - full pre-activation": (ORIGINAL, FULL),
}
_SIGNS = {"Conv2D": "weight", "BatchNormalization": "BN", "Activation": "ReLU", "Add": "+"}


def recipe(name: str, seed: int, numbers: Mapping[str, int]) -> Recipe:
    """The recipe of an order."""
    base = cifar_training.recipe(f"cifar_resnet{numbers['depth']}", seed, numbers)
    return replace(base, model=replace(base.model, **ORDERS[name].model))


def runs(numbers: Mapping[str, int], seeds: Sequence[int]) -> list[Training]:
    """All orders, and the beginning of the original twice."""
    return cifar_training.all_runs(lambda name, seed: recipe(name, seed, numbers), list(ORDERS), ORIGINAL, seeds)


def measure(setup: Setup) -> Measurement:
    """The differences in test error of the pairs, by seed."""
    effects = {label: paired(setup, *pair, TEST_ERROR) for label, pair in PAIRS.items()}
    obstacle = reference_not_learned(setup, [ORIGINAL, FULL])
    controls = cifar_training.equal_controls(setup, "one network trained twice")
    controls += [order_control(name, recipe(name, 0, setup.numbers)) for name in ORDERS]
    return Measurement(training_curves.rows_of(setup, ORDERS), effects, controls, dict.fromkeys(effects, obstacle))


def layers_of_blocks(net: ResNet) -> dict[str, str]:
    """The layers of each block but the first, in the order of their computation, as in `Order.layers`.

    The first block of a pre-activation network takes the activated output of the stem. Zeros that a shortcut adds are left out.
    """
    layers = [each for each in graph.layers(net, 32) if each.type != "ZeroPad"]
    return {
        name: " ".join(_SIGNS.get(each.type, each.type) for each in layers if each.name.startswith(f"{name}."))
        for name in list(named_blocks(net))[1:]
    }


def order_control(name: str, recipe: Recipe) -> Control:
    """Whether the blocks of the network have their layers in the order of the figure, and the network no other tensors."""
    original = replace(recipe, model=replace(recipe.model, block=None, preactivation=None))
    with torch.device("cpu"):
        net, other = (cifar_training.new_network(each) for each in (recipe, original))
    weights, others = (sorted(tuple(p.shape) for p in each.parameters() if p.dim() > 1) for each in (net, other))
    found = layers_of_blocks(net)
    wrong = [block for block, layers in found.items() if layers != ORDERS[name].layers]
    words = (
        f"{found[wrong[0]]} in {wrong[0]}" if wrong else f"{ORDERS[name].layers} in {pluralize(len(found), 'block')}"
    )
    same = "the weights of the original" if weights == others else "other weights than the original"
    return Control(f"{name}: layers of the blocks", f"{words}; {same}", not wrong and weights == others)


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The ladder of the differences; those of the paper, of longer trainings of ResNet-110, dotted."""
    published = {label: ORDERS[one].published - ORDERS[two].published for label, (one, two) in PAIRS.items()}
    draw_forest(page.subplots(), rows, PAIRS, published)


_SHORT = {"depth": 110, "batch": 128, "imgsz": 32, "steps": 3_000, "window": 100, "images": 10_000}
STUDY = Study(
    name="activation-order",
    claim="Norm after and ReLU before the addition raise the test error; norm and ReLU before each convolution lower it.",
    paper="He et al. 2016, Identity Mappings in Deep Residual Networks, tables 2 and 3",
    published="ResNet-110 and -164: original 6.61, 5.93; BN after 8.17, 6.50; ReLU before 7.84, 6.14; ReLU-only 6.71, 5.91; full "
    "pre-activation 6.37, 5.46",
    statistic="test error of the order that the paper finds worse minus that of the better one, in points",
    unit=SEED,
    rule=Rule("greater", 0.0, 0.2, least_count=3, undecided_if=REFERENCE_NOT_LEARNED),  # the paper's smallest is 0.24
    control="the layers of each block but the first are in the order of figure 4, with the same weights; one network trained "
    "twice: 0 exactly",
    protocols={
        "paper": {**_SHORT, "steps": 64_000},
        "short": _SHORT,
        "minutes": {**_SHORT, "depth": 32, "imgsz": 16, "steps": 1_500},
    },
    data=None,
    measure=measure,
    draw=draw,
    runs=runs,
    seeds=3,
)
