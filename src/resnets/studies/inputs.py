"""The trained networks and the images of a study."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnets.data.datasets import cifar10, open_dataset
from resnets.data.datasets.dataset import Dataset, IndexedSamples, Sample, remap_classes, sample_labels, sample_paths
from resnets.data.image.decode import decode
from resnets.data.image.open_image_file import DecodeError
from resnets.data.image.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from resnets.data.loading.eval_loader import EvalLoader
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.split import lineage
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.models.resnet import ResNet
from resnets.progress import log, progress_bar
from resnets.tasks.evaluation import evaluation_split
from resnets.tasks.evaluation.evaluation_split import EvaluationSplit
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, identify, load_weights
from resnets.weights.checkpoint import Checkpoint

# What the files of github.com/akamaster/pytorch_resnet_cifar10 do not show; `docs/akamaster_cifar.toml` says the same.
AKAMASTER = "assumed as in akamaster's: a residual network, option A with zeros on both sides, CIFAR-10's classes"
IMGSZ = 32  # of new networks, in pixels
_BATCH = 100
_AHEAD = 64  # images that are read before they are asked for
_CACHE_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class StudyNetwork:
    """A trained classifier in eval mode. `name` is different for each network of a study; `file` is that of the weights."""

    name: str
    file: Path
    sha256: str
    checkpoint: Checkpoint
    net: ResNet


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labeled images, each once. `digest` is that of their contents; `origin` says which images they are."""

    samples: Sequence[Sample]
    class_names: tuple[str, ...]
    origin: str
    digest: str

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> Tensor:
        """int64 (N,)."""
        return torch.from_numpy(sample_labels(self.samples, self.class_names))

    def batches(self, preprocess: Preprocess) -> EvalLoader:
        """The images in order, in batches, decoded once if they fit into memory."""
        paths = sample_paths(self.samples)
        return EvalLoader(paths, preprocess.load_placed, batch_size=_BATCH, workers=None, max_cache_bytes=_CACHE_BYTES)

    def stacked(self, preprocess: Preprocess | None = None) -> Tensor:
        """All images as one tensor, float32 (N, C, H, W); for a new network, None for 32x32 pixels and ImageNet's mean."""
        preprocess = preprocess or Preprocess.plain(IMGSZ, IMAGENET_MEAN, IMAGENET_STD)
        return torch.cat([as_tensor(batch.images) for batch in self.batches(preprocess)])


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The images of a study that trains.

    Attributes:
        location: of the data, which have a train and a test split.
        train, test: the images that errors are measured on, without augmentation.
        digest: of the pixels and the labels of all images in their order, whatever the format of their files.
    """

    location: str
    train: ImageSet
    test: ImageSet
    digest: str


def as_tensor(images: Tensor | Sequence[Tensor]) -> Tensor:
    """The images of a batch as one tensor.

    Raises:
        UserError: they have different sizes.
    """
    if not isinstance(images, Tensor):
        raise UserError("A study needs images of one size: a network whose preprocessing has a fixed size.")
    return images


def load_networks(weights: Sequence[str | Path]) -> list[StudyNetwork]:
    """The networks of checkpoints, run directories, names of the catalog, or files of other libraries.

    Raises:
        UserError: there is no such file, its network cannot be told, or it is no classifier.
    """
    found = []
    for path in weights:
        file = find_weights.find_file(path)
        checkpoint = _read(file)
        if checkpoint.task != checkpoints.CLASSIFICATION:
            raise UserError(f"A study needs a classifier; '{path}' is of the task {checkpoint.task}.")
        # The files of all runs have one name, so a run is called by its directory.
        found.append((file, checkpoint, Path(path).name if Path(path).is_dir() else file.name))
    times = Counter(checkpoint.spec.name for _, checkpoint, _ in found)
    networks = []
    for number, (file, checkpoint, label) in enumerate(found, start=1):
        name = checkpoint.spec.name
        name = f"{name} ({number}: {label})" if times[name] > 1 else name
        networks.append(StudyNetwork(name, file, sha256(file), checkpoint, checkpoints.network(checkpoint)))
    return networks


def read_training_images(data: str | Path, count: int) -> TrainingImages:
    """The images to train on and to measure on; at most `count` of each split, drawn with a fixed seed, are measured.

    Raises:
        UserError: the data have no train or no test split, or their images have no labels.
    """
    dataset = open_dataset.read(data)
    if isinstance(dataset.samples, IndexedSamples):
        raise UserError(f"A study reads a folder or a list of images; '{data}' holds shards.")
    if missing := [split for split in ("train", "test") if split not in dataset.splits]:
        raise UserError(
            f"A study that trains needs data with a train and a test split; '{data}' has no {missing[0]} split."
        )
    hashed = lineage.with_sha256(dataset.samples)
    sets = {
        split: choose_images(
            [each for each in hashed if each.split == split], count, dataset.class_names, f"{data}, split {split}"
        )
        for split in ("train", "test")
    }
    digests = progress_bar(
        ordered_map(_digest_of_pixels, hashed, workers=None, ahead=_AHEAD),
        description="reading",
        total=len(hashed),
        unit="images",
    )
    lines = [f"{each.split} {each.labels} {digest}" for each, digest in zip(hashed, digests, strict=True)]
    return TrainingImages(str(data), sets["train"], sets["test"], hashlib.sha256("\n".join(lines).encode()).hexdigest())


def choose_images(samples: Sequence[Sample], count: int, class_names: tuple[str, ...], origin: str) -> ImageSet:
    """At most `count` of the labeled images; each image once, drawn with a fixed seed.

    Raises:
        UserError: no image has a label.
    """
    labeled = lineage.with_sha256([sample for sample in samples if sample.label is not None])
    once = list({sample.sha256: sample for sample in labeled}.values())
    if not once:
        raise UserError(f"There are no labeled images in {origin}.")
    order = np.random.default_rng(0).permutation(len(once))[:count]
    chosen = [once[index] for index in order.tolist()]
    return ImageSet(chosen, class_names, origin, _digest(chosen))


def _read(file: Path) -> Checkpoint:
    if identify.is_resnets_checkpoint(file):
        return checkpoints.read(file, task=None)
    inspection = identify.inspect(file)
    of_akamaster = [
        each.spec for each in inspection.candidates if each.spec.shortcut == "A" and each.spec.stem == "cifar"
    ]
    if inspection.subtree is None or not inspection.subtree.head.endswith("linear") or not of_akamaster:
        return load_weights.load(file).checkpoint
    spec = of_akamaster[0]
    log(f"{file.name}: {spec.name}; {AKAMASTER}")
    class_names = cifar10.CLASSES if spec.num_classes == len(cifar10.CLASSES) else ()
    request = load_weights.Request(spec.name, {"zero_pad_both_sides": True}, class_names=class_names)
    return load_weights.load(file, request).checkpoint


def read_images(
    data: str | Path, count: int, networks: Sequence[StudyNetwork], *, trained_on: bool = False
) -> ImageSet:
    """At most `count` labeled images: the test split, else val, else all; each image once, drawn with a fixed seed.

    Where the data have no splits, they are those of the networks' runs: of several networks, images that none was trained on.

    Args:
        trained_on: the train split instead, where there is one.

    Raises:
        UserError: there are no labeled images, or their classes are not those of the networks.
    """
    dataset = open_dataset.read(data)
    if isinstance(dataset.samples, IndexedSamples):
        raise UserError(f"A study reads a folder or a list of images; '{data}' holds shards.")
    origin, class_names = "", dataset.class_names
    if networks:
        first = networks[0]
        class_names = first.checkpoint.class_names or class_names
        for network in networks:
            if network.checkpoint.spec.num_classes != len(class_names) or (
                network.checkpoint.class_names and network.checkpoint.class_names != class_names
            ):
                raise UserError(
                    f"'{network.file}' has other classes than {first.file if network is not first else data}: "
                    f"{network.checkpoint.spec.num_classes} and {len(class_names)}, or in another order."
                )
        dataset = remap_classes(dataset, class_names)
        split = _split_for(dataset, networks, trained_on)
        samples, origin = split.samples, f"split {split.name} ({split.reason})"
    else:
        name = next((name for name in ("test", "val") if name in dataset.splits), None)
        samples, origin = (dataset.subset(name), f"split {name}") if name else (dataset.samples, "all images")
    return choose_images(samples, count, class_names, f"{data}, {origin}")


def _split_for(dataset: Dataset, networks: Sequence[StudyNetwork], trained_on: bool) -> EvaluationSplit:
    first, chosen = networks[0], None
    if len(networks) > 1 and not trained_on:
        lineages = [(str(each.file), lineage.lineage_of(each.file, each.checkpoint.provenance)) for each in networks]
        chosen = evaluation_split.not_trained_on(dataset, lineages)
    prefer = ("train",) if trained_on else ("test", "val")
    return chosen or evaluation_split.choose_split(dataset, first.file, first.checkpoint.provenance, prefer=prefer)


def _digest_of_pixels(sample: Sample) -> str:
    """Of the size and the pixels of an image; of a file that cannot be read as one, of its bytes."""
    try:
        pixels = decode(sample.path)
    except DecodeError:
        return f"file {sample.sha256}"
    return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"


def _digest(samples: Sequence[Sample]) -> str:
    return hashlib.sha256("\n".join(sample.sha256 or "" for sample in samples).encode()).hexdigest()
