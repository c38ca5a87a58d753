"""What studies that train have in common: the recipe of He et al. 2015 at any length and size of image, and its controls."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.recipes import he2015_cifar
from resnets.recipes.recipe import Recipe, Schedule, Stop, Track
from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import Control, Setup
from resnets.studies.trainings.training import RUNNING_LOSS, TEST_ERROR, TRAIN_ERROR, Training
from resnets.tasks.classification.task import TASK
from resnets.training import reproducibility
from resnets.training.setup import build_network

CONTROL_STEPS = 20
# What `minutes` becomes with the built-in digits: a minute that shows how a study works, and decides nothing about its claim.
ON_DIGITS = {"batch": 32, "imgsz": 8, "steps": 20, "window": 5, "images": 100}
TWICE = ("first-of-two", "second-of-two")
_PAPER_IMGSZ, _PAPER_PAD = 32, 4


def recipe(model: str, seed: int, numbers: Mapping[str, int]) -> Recipe:
    """`he2015_cifar` with `numbers["steps"]` steps, of `numbers["batch"]` images of `numbers["imgsz"]` pixels.

    As in the paper, the learning rate is divided by 10 after a half and after three quarters of the steps, and images are
    shifted by up to an eighth of their side. Computed by deterministic algorithms, so that a training can be repeated exactly.
    """
    base, steps, imgsz = he2015_cifar.recipe(model), numbers["steps"], numbers["imgsz"]
    return replace(
        base,
        seed=seed,
        data=replace(base.data, imgsz=imgsz, batch=numbers["batch"]),
        augment=replace(base.augment, pad_pixels=max(imgsz * _PAPER_PAD // _PAPER_IMGSZ, 1)),
        schedule=replace(base.schedule, milestones_steps=(max(steps // 2, 1), max(steps * 3 // 4, 1))),
        stop=Stop(steps=steps),
        speed=replace(base.speed, deterministic=True),
        track=Track(window_steps=numbers["window"], test_each_epoch=True, report=False),
    )


def beginning(recipe: Recipe) -> Recipe:
    """The first `CONTROL_STEPS` steps of a training, each with its loss."""
    return replace(
        recipe,
        schedule=Schedule(name="constant"),
        stop=Stop(steps=CONTROL_STEPS),
        track=replace(recipe.track, window_steps=1),
    )


def twice(recipe: Recipe) -> list[Training]:
    """The beginning of a training, twice: the same network under two names."""
    return [Training(name, beginning(recipe), copy) for copy, name in enumerate(TWICE)]


def all_runs(
    make: Callable[[str, int], Recipe], names: Sequence[str], repeated: str, seeds: Sequence[int]
) -> list[Training]:
    """For each seed a training of each network, and the beginning of that of `repeated` twice; `make` gives the recipe of a
    network and a seed.
    """
    return [
        training
        for seed in seeds
        for training in [*(Training(name, make(name, seed)) for name in names), *twice(make(repeated, seed))]
    ]


def equal_controls(setup: Setup, name: str, networks: tuple[str, str] = TWICE) -> list[Control]:
    """Whether two networks had the same losses and errors to the last digit, by seed."""
    controls = []
    for seed in setup.seeds:
        first, second = (setup.trained[network, seed] for network in networks)
        curves = [(first.curve(each), second.curve(each)) for each in (RUNNING_LOSS, TRAIN_ERROR, TEST_ERROR)]
        losses = [abs(one - other) for one, other in zip(curves[0][0].values(), curves[0][1].values(), strict=False)]
        apart = f"losses up to {max(losses, default=math.nan):g} apart"
        controls.append(Control(f"{name}, seed {seed}", apart, all(one and one == other for one, other in curves)))
    return controls


def shortcut_controls(plain: Recipe, residual: Recipe) -> list[Control]:
    """Whether two networks differ by their shortcuts, which only the second has, and by nothing else."""
    nets = new_network(plain), new_network(residual)
    before, after = (net.state_dict() for net in nets)
    equal = before.keys() == after.keys() and all(value.equal(after[key]) for key, value in before.items())
    names = f"{residual.model.name} is {plain.model.name} with shortcuts"
    return [
        Control(names, f"the initial weights are {'equal' if equal else 'different'}", equal),
        pass_on_control(names, [nets]),
    ]


def new_network(recipe: Recipe) -> ResNet:
    """The network of a recipe before its first step, for 10 classes."""
    reproducibility.seed_everything(recipe.seed)
    return build(build_network.requested_spec(recipe, TASK, None))
