"""A recipe: all settings of a training run as one frozen value.

`None` means "chosen from the images and the machine" by `training/configuration/autoconfig.py`, which logs the reason, where the
comment on a field does not say otherwise. Units are part of the names. A value out of range raises an error that names its key.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any

from resnets.check_settings import check_choice
from resnets.errors import UserError
from resnets.recipes.save_interval import SaveInterval


def number(default: Any, *, low: float | None = None, above: float | None = None, high: float | None = None) -> Any:
    """A field for a number with its allowed range: `low` and `high` are included, `above` is not."""
    return field(default=default, metadata={"low": low, "above": above, "high": high})


def choice(default: Any, *names: str) -> Any:
    """A field for one of the names."""
    return field(default=default, metadata={"names": names})


class Section:
    """A section of a recipe. Each value is checked against its range when the section is created."""

    def _table(self) -> str:
        return "task" if isinstance(self, TaskConfig) else type(self).__name__.lower()

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):  # type: ignore[arg-type]
            for value in _flat(getattr(self, entry.name)):
                _check(f"{self._table()}.{entry.name}", value, entry.metadata)


def _flat(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _check(key: str, value: Any, rule: typing.Mapping[str, Any]) -> None:
    if value is None:
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key} must be a finite number; received {value}.")
    names = rule.get("names")
    if names:
        check_choice(key, value, names)
    bounds = [("low", "at least", lambda bound: value < bound), ("above", "more than", lambda bound: value <= bound)]
    bounds.append(("high", "at most", lambda bound: value > bound))
    for bound, words, broken in bounds:
        if rule.get(bound) is not None and broken(rule[bound]):
            raise UserError(f"{key} must be {words} {rule[bound]:g}; received {value:g}.")


@dataclass(frozen=True)
class Model(Section):
    """Which network; the values after `weights` go to the zoo, `None` leaves what the zoo says."""

    name: str | None = None  # None: the network of the weights
    weights: str = "none"  # "none" or a checkpoint file
    stem: str | None = None
    stem_channels: int | None = number(None, low=1)
    num_blocks: tuple[int, ...] | None = number(None, low=1)  # of each stage
    out_channels: tuple[int, ...] | None = number(None, low=1)  # of each stage
    preactivation: bool | None = None
    block: str | None = None
    shortcut_scale: float | None = None
    branch_scale: float | None = None
    gate_bias: float | None = None
    shortcut: str | None = None
    shortcut_dropout: float | None = number(None, low=0, high=1)
    pool: str | None = None
    head_hidden_dim: int | None = number(None, low=1)  # width of a dense layer with ReLU before the last one
    drop_path_rate: float | None = number(None, low=0, high=1)
    drop_path_by: str | None = None
    zero_init_residual: bool | None = None


@dataclass(frozen=True)
class Data(Section):
    """Which images, how they are split, shaped and grouped into batches."""

    location: str = ""
    imgsz: int | None = number(None, low=1)  # side of the square input of the network, pixels
    resize: str = choice("shorter", "shorter", "stretch", "pad", "fit", "none")
    antialias: bool = True
    crop_fraction: float = number(0.875, above=0, high=1)  # in evaluation the shorter side is imgsz / crop_fraction
    # What is subtracted and divided by: the published ImageNet statistics, those of the training images, the mean
    # image of the training images, or nothing (pixels stay 0..255); caffe and tf are the modes of Keras' preprocess_input;
    # weights: as the given weights were trained.
    normalize: str = choice("imagenet", "imagenet", "channel", "pixel", "raw", "caffe", "tf", "weights")
    split_file: str | None = None  # a split that `resnets data split` wrote; then nothing is split; None: no file
    val_fraction: float = number(0.2, low=0, high=0.9)  # 0: no validation images
    split_seed: int = number(123, low=0)
    group_by: str | None = (
        None  # "folder", or a column of the manifest: images of one group stay in one split; None: no groups
    )
    folds: int | None = number(None, low=2)  # cross-validation: number of folds; None: none
    fold: int | None = number(None, low=1)  # the fold that is the val split, from 1; None without `folds`
    on_bad: str = choice("error", "error", "skip")  # for images that cannot be read
    batch: int | None = number(None, low=1)  # of all ranks together
    balance: str = choice("none", "none", "loss", "sampler")  # how rare classes get the weight of the others
    workers: int | None = number(None, low=0)  # processes that load and augment images, per rank
    cache: str = choice("auto", "auto", "ram", "off")  # of decoded images


@dataclass(frozen=True)
class Augment(Section):
    """Augmentation of the training images. Fractions are of the image area, probabilities 0..1."""

    # auto: random_resized for images above 64 pixels, else pad, without color jitter and erasing
    crop: str = choice("auto", "auto", "random_resized", "shorter_side", "pad", "none")
    scale: tuple[float, float] = number((0.35, 1.0), above=0, high=1)  # area of a random_resized crop
    ratio: tuple[float, float] = number((3 / 4, 4 / 3), above=0)
    shorter_side: tuple[int, int] = number((256, 480), low=1)  # pixels, drawn uniformly before a 'shorter_side' crop
    pad_pixels: int | None = number(None, low=0)
    # zeros after normalizing: the mean; edge: the last row repeated; reflect: without the last row
    pad_mode: str = choice("zeros", "zeros", "edge", "reflect")
    flip: float = number(0.5, low=0, high=1)
    # In every second epoch an image is flipped if it was not in the epoch before: half of them in the first, by seed and number.
    alternate_flip: bool = False
    jitter: float = number(0.0, low=0, high=1)  # brightness, contrast and saturation
    pca_std: float = number(0.0, low=0)  # AlexNet's color augmentation; 0.1 in the paper
    trivial: bool = False  # TrivialAugment: one random operation per image
    erase: float = number(0.0, low=0, high=1)
    mixup_alpha: float = number(0.0, low=0)
    cutmix_alpha: float = number(0.0, low=0)


@dataclass(frozen=True)
class TaskConfig(Section):
    """The task and its settings, such as those of its loss; each task adds fields of its own (`Task.Config`)."""

    name: str = ""  # of the task; empty until it is known


@dataclass(frozen=True)
class Optim(Section):
    """The optimizer."""

    name: str = choice("sgd", "sgd", "adam", "adamw", "muon")  # muon: of 3x3 filters; all others are on SGD
    lr: float = number(0.1, above=0)  # for a batch of `lr_batch`
    lr_batch: int | None = number(None, low=1)  # None: the lr is not scaled with the batch
    momentum: float = number(0.9, low=0, high=1)
    nesterov: bool = False
    weight_decay: float = number(1e-4, low=0)  # adamw decouples it; sgd and adam add it to the gradient (L2)
    decay_norm_and_bias: bool = True
    accumulate: int = number(1, low=1)  # micro-batches per step, whose gradients are accumulated to save memory
    # With muon, of what is on SGD, with Nesterov momentum. The learning rates are for the sum of the losses of a batch, and
    # `weight_decay` is the part by which a step at the full lr shrinks a weight, divided by the batch.
    bias_lr: float = number(0.05, above=0)
    head_lr: float = number(1e-5, above=0)
    sgd_momentum: float = number(0.85, above=0, high=1)
    clip_norm: float | None = number(None, above=0)  # upper bound on the norm of the gradient; None: no bound


@dataclass(frozen=True)
class Schedule(Section):
    """The learning-rate schedule, as factors of the learning rate."""

    name: str = choice("cosine", "constant", "step", "cosine", "linear", "poly", "one_cycle")
    warmup_epochs: float = number(0.0, low=0)
    warmup_steps: int | None = number(None, low=1)  # in place of epochs; None: `warmup_epochs` counts
    warmup_power: float = number(1.0, above=0)  # of the part of the warm-up that is done; 1: the lr rises on a line
    warmup_factor: float = number(0.01, low=0, high=1)  # of the lr, at the first step of the warm-up
    # The 2015 paper's warm-up for 110 layers and more: `warmup_factor` of the lr until the error rate of the
    # last 100 training batches is below this value. None: no such warm-up.
    warmup_until_error: float | None = number(None, above=0, high=1)
    milestones_steps: tuple[int, ...] = number((), low=1)
    milestones_epochs: tuple[float, ...] = number((), above=0)
    factor: float = number(0.1, above=0, high=1)  # at each milestone
    factors: tuple[float, ...] = number((), above=0)  # one factor for each milestone where they differ
    # Lowering by `plateau_factor` after so many epochs without a lower validation loss, on top of the curve; None: never.
    plateau_epochs: int | None = number(None, low=1)
    plateau_factor: float = number(0.1, above=0, high=1)
    plateau_min_factor: float = number(0.0, low=0, high=1)  # of the lr; it is not lowered further
    # A whitening stem trains its bias in the first epochs only, with a line from its lr to 0; None: as all others.
    stem_epochs: float | None = number(None, above=0)
    peak_fraction: float = number(0.3, above=0, high=1)  # of all steps, spent rising in one_cycle


@dataclass(frozen=True)
class Freeze(Section):
    """Which layers are not trained, and for how long."""

    layers: str = "none"  # "none", "backbone", or the number of stages that stay frozen (the stem with them)
    head_epochs: int = number(0, low=0)  # first epochs, in which only the head is trained
    backbone_lr_factor: float = number(1.0, low=0)  # learning rate of the backbone as a factor of the head's
    norm: str = choice("train", "train", "eval", "frozen")  # BN of what is not frozen


@dataclass(frozen=True)
class Ema(Section):
    """The exponential moving average of the weights, which is validated and saved in place of the weights."""

    decay: float = number(0.0, low=0, high=0.999999)  # per step; 0: no average
    # Lookahead (`optimization/lookahead.py`): after so many steps, the weights become their average; None: never.
    lookahead_steps: int | None = number(None, low=1)


@dataclass(frozen=True)
class Stop(Section):
    """When the run ends."""

    epochs: int | None = number(None, low=1)
    steps: int | None = number(None, low=1)  # in place of epochs, where a recipe counts in steps; None: `epochs` counts
    patience_epochs: int | None = number(
        None, low=1
    )  # early stopping: epochs without a better validation result; None: never


@dataclass(frozen=True)
class Speed(Section):
    """Device, precision and other settings of the computation."""

    device: str = "auto"
    precision: str = choice("auto", "auto", "fp32", "tf32", "bf16", "fp16")
    channels_last: bool = True
    threads: int | None = number(None, low=1)
    deterministic: bool = False
    compile: bool = False  # torch.compile of the training step: it takes about a minute and gains little on a CPU
    sync_bn: bool = False  # batch norm takes its statistics over the batch of all processes


@dataclass(frozen=True)
class Save(Section):
    """When the state is saved within an epoch; it is also saved after each epoch, on Ctrl-C, SIGTERM and SIGHUP."""

    every: str = "300s"  # or steps, such as 200; no more than this is lost when the machine goes down

    def __post_init__(self) -> None:
        super().__post_init__()
        SaveInterval.parse(self.every)


TRACKERS = ("tensorboard", "mlflow", "wandb")


@dataclass(frozen=True)
class Track(Section):
    """Which metrics are logged during the training, and where to beside the run directory."""

    to: str = "none"  # or names of TRACKERS, separated by commas
    window_steps: int = number(100, low=1)  # of each row of `windows.csv`, the metrics of the training batches
    test_each_epoch: bool = False  # the test split is measured after each epoch, too; nothing is chosen by it
    report: bool = True  # after the last step the best weights are evaluated, and the report is drawn

    def __post_init__(self) -> None:
        for name in [] if self.to == "none" else self.to.split(","):
            _check("track.to", name, {"names": (*TRACKERS, "none")})


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run."""

    name: str = "custom"
    seed: int = 0
    model: Model = Model()
    data: Data = Data()
    augment: Augment = Augment()
    task: TaskConfig = TaskConfig()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    freeze: Freeze = Freeze()
    ema: Ema = Ema()
    stop: Stop = Stop()
    speed: Speed = Speed()
    save: Save = Save()
    track: Track = Track()

    def __post_init__(self) -> None:
        if self.freeze.layers not in ("none", "backbone") and not self.freeze.layers.isdecimal():
            raise UserError(
                f"freeze.layers is 'none', 'backbone' or a number of stages; received '{self.freeze.layers}'."
            )
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed must be 0 or more; received {self.seed}.")


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Return the number of steps of the run."""
    return recipe.stop.steps or (recipe.stop.epochs or 1) * steps_per_epoch


def flat_values(recipe: Recipe) -> dict[str, Any]:
    """Return every dotted key of the recipe with its value, in order."""
    flat: dict[str, Any] = {}
    for entry in dataclasses.fields(recipe):
        value = getattr(recipe, entry.name)
        if isinstance(value, Section):
            flat |= {f"{entry.name}.{item.name}": getattr(value, item.name) for item in dataclasses.fields(value)}  # type: ignore[arg-type]
        else:
            flat[entry.name] = value
    return flat
