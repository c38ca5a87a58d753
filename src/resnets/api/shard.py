"""`resnets.shard`: a dataset as WebDataset shards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets.data.datasets import open_dataset, write_shards
from resnets.data.datasets.dataset import IndexedSamples
from resnets.recipes.recipe import Data, Recipe
from resnets.training.configuration import conflicts
from resnets.training.configuration.recipe_builder import RecipeBuilder
from resnets.training.setup.split_dataset import split_dataset


@dataclass(frozen=True)
class ShardResult:
    """A dataset as shards.

    Attributes:
        out: the folder, which every command and function takes as `data`.
        counts: number of images of each split: {"train": 80, "val": 20}.
        tars: number of shards of each split.
    """

    out: str
    counts: dict[str, int]
    tars: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The folder and the numbers of images and shards, for JSON."""
        return {"out": self.out, "images": self.counts, "tars": self.tars}


def shard(
    data: str | Path,
    out: str | Path,
    *,
    size_mb: float = 500.0,
    resize: int | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int = 123,
    group_by: str | None = None,
    on_bad: str = "error",
) -> ShardResult:
    """Write a dataset as WebDataset shards, split as `resnets.train` would split it.

    Args:
        data: a folder of class folders, a .csv or .jsonl file, shards, "digits", "digit-scenes" or "shapes".
        out: a folder that is empty or does not exist.
        size_mb: size of a shard in millions of bytes.
        resize: larger images are resized to this shorter side in pixels; None to copy all unchanged.
        split_file: a split that `resnets.split` wrote.
        val_fraction: fraction of val, where the dataset has none; None for 0.2.
        seed: of the split and of the order of the training images.
        group_by: as in `resnets.split`.
        on_bad: "skip" leaves unreadable images out; "error" refuses them.

    Returns:
        The result: `.counts` and `.tars`, the numbers of images and shards of each split.

    Raises:
        UserError: there is no such dataset, an argument would have no effect, `out` is not empty, images cannot be read, or the
            library `webdataset` is not installed.
        JobError: the shards cannot be written.
    """
    data = str(data)
    write_shards.check_output_dir(out)
    builder = RecipeBuilder(Recipe(data=Data(location=data, on_bad=on_bad, split_seed=seed)))
    split_path = None if split_file is None else str(split_file)
    for key, value in (("val_fraction", val_fraction), ("split_file", split_path), ("group_by", group_by)):
        if value is not None:
            builder.set(f"data.{key}", value, f"given: --{key.replace('_', '-')}")
    conflicts.resolve_conflicts(builder)
    dataset = open_dataset.read(data, on_inaccessible=on_bad)
    conflicts.check_dataset(
        builder, has_val="val" in dataset.splits, is_shards=isinstance(dataset.samples, IndexedSamples)
    )
    dataset = split_dataset(dataset, builder.recipe)
    tars = write_shards.write(out, dataset, seed=seed, size_mb=size_mb, resize=resize)
    return ShardResult(str(out), {name: len(dataset.subset(name)) for name in tars}, dict(tars))
