"""Which images a model is evaluated on, by default and as asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset
from resnets.data.split import lineage
from resnets.data.split.lineage import Lineage
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import write_split
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.tasks.evaluation.evaluation_split import choose_split, not_trained_on, num_selected_on

NOWHERE = Path("net.safetensors")


@pytest.fixture
def run(world, tmp_path: Path) -> Path:
    """A run directory whose split was made from the world's images."""
    (tmp_path / "run" / "weights").mkdir(parents=True)
    (tmp_path / "run" / "recipe.toml").touch()
    write_split(tmp_path / "run" / "split.csv", make_split(open_dataset.read(world.data), val_fraction=0.34))
    return tmp_path / "run" / "weights" / "best.safetensors"


def folder(world, root: Path, *names: str) -> Dataset:
    for name in names:
        shutil.copytree(world.data, root / name)
    return open_dataset.read(root)


def test_the_default_is_test_then_val_then_all(world, tmp_path: Path) -> None:
    assert choose_split(folder(world, tmp_path / "three", "train", "val", "test"), NOWHERE).name == "test"
    two = folder(world, tmp_path / "two", "train", "val")
    assert choose_split(two, NOWHERE).name == "val"
    assert choose_split(two, NOWHERE, split="train").name == "train"
    assert len(choose_split(two, NOWHERE, split="all").samples) == 36
    with pytest.raises(UserError, match="no test split: only train, val"):
        choose_split(two, NOWHERE, split="test")
    with pytest.raises(UserError, match=r"`val_fraction=0.2` has no effect with `split=all`"):
        choose_split(open_dataset.read(world.data), NOWHERE, split="all", val_fraction=0.2)


def test_all_images_of_a_new_folder_without_splits_are_evaluated(world) -> None:
    chosen = choose_split(open_dataset.read(world.data), NOWHERE)
    assert (chosen.name, len(chosen.samples), chosen.reason) == ("all", 18, "there is no split")
    with pytest.raises(UserError, match="no val split: it is not split"):
        choose_split(open_dataset.read(world.data), NOWHERE, split="val")


def test_a_model_is_evaluated_on_the_split_of_its_own_run(world, run: Path) -> None:
    chosen = choose_split(open_dataset.read(world.data), run)
    assert (chosen.name, len(chosen.samples)) == ("val", 6)
    assert str(run.parent.parent / "split.csv") in chosen.reason
    assert len(choose_split(open_dataset.read(world.data), run, split="train").samples) == 12
    assert len(choose_split(open_dataset.read(world.data), run, split="all").samples) == 18


@pytest.mark.parametrize("name", ["net.safetensors", "models/net.safetensors", "weights/net.safetensors"])
def test_a_split_file_in_the_folder_of_a_model_that_is_in_no_run_is_not_taken_for_its_own(
    world, tmp_path: Path, name: str
) -> None:
    write_split(tmp_path / "split.csv", make_split(open_dataset.read(world.data), test_fraction=0.34, val_fraction=0))
    chosen = choose_split(open_dataset.read(world.data), tmp_path / name)
    assert (chosen.name, len(chosen.samples)) == ("all", 18)
    file = tmp_path / "split.csv"
    assert chosen.reason == (
        f"there is no split; whether {file} is that of this model is not known: `split_file={file}` would use it"
    )
    assert num_selected_on(tmp_path / name, open_dataset.read(world.data).samples) == 0


def test_other_weights_in_a_run_directory_have_not_its_split(world, run: Path) -> None:
    samples = open_dataset.read(world.data).samples
    for origin in ({"converted_from": "net.pth"}, {"split_sha256": "0"}):
        assert choose_split(open_dataset.read(world.data), run, origin).name == "all"
        assert num_selected_on(run, samples, origin) == 0
    assert num_selected_on(run, samples) == 6


@pytest.mark.parametrize(
    ("settings", "origin", "count"),
    [
        ("[schedule]\n[stop]\nepochs = 3", {}, 0),
        ("[schedule]\n[stop]\npatience_epochs = 3", {}, 6),
        ("[schedule]\nplateau_epochs = 2\n[stop]", {}, 6),
        ("[schedule]\n[stop]\nepochs = 3", {"calibration": {"split": "val"}}, 6),
        ("", {}, 6),
    ],
    ids=["all steps", "early stopping", "a plateau", "calibrated", "not known"],
)
def test_the_last_weights_are_selected_only_where_val_images_end_the_run(
    world, run: Path, settings: str, origin: dict[str, object], count: int
) -> None:
    samples = open_dataset.read(world.data).samples
    (run.parents[1] / "recipe.toml").write_text(settings)
    origin = {**origin, "split_sha256": sha256(run.parents[1] / "split.csv")}
    assert num_selected_on(run.with_name("last.safetensors"), samples, origin) == count
    assert num_selected_on(run, samples, origin) == 6


def test_images_of_the_run_that_changed_since_are_not_taken_silently(world, run: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(world.data, tmp_path / "changed")
    shutil.copy(changed / "red" / "0.png", changed / "red" / "1.png")
    with pytest.raises(UserError, match=r"1 changed \('red/1\.png'\).* `split=all` uses every image"):
        choose_split(open_dataset.read(changed), run)
    assert len(choose_split(open_dataset.read(changed), run, split="all").samples) == 18


def test_other_images_have_nothing_to_do_with_the_split_of_the_run(world, run: Path, tmp_path: Path) -> None:
    for path in world.paths:
        target = tmp_path / "new" / Path(path).parent.name / f"new {Path(path).name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    chosen = choose_split(open_dataset.read(tmp_path / "new"), run)
    assert (chosen.name, len(chosen.samples)) == ("all", 18)


def test_other_images_of_the_same_names_have_nothing_to_do_with_it_either(world, run: Path, tmp_path: Path) -> None:
    for path in world.paths:
        target = tmp_path / "new" / Path(path).parent.name / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(target)
    for asked in (None, "all"):
        chosen = choose_split(open_dataset.read(tmp_path / "new"), run, split=asked)
        assert (chosen.name, len(chosen.samples)) == ("all", 18)
        assert (
            chosen.reason
            == f"18 have the name of an image in {run.parent.parent / 'split.csv'}, but none has its content"
        )


def test_a_given_split_takes_precedence(world, run: Path, tmp_path: Path) -> None:
    dataset = open_dataset.read(world.data)
    given = choose_split(dataset, NOWHERE, split_file=run.parent.parent / "split.csv")
    assert [each.path for each in given.samples] == [each.path for each in choose_split(dataset, run).samples]
    anew = choose_split(dataset, NOWHERE, val_fraction=0.34)
    assert [each.path for each in anew.samples] == [each.path for each in given.samples]
    other = choose_split(dataset, NOWHERE, val_fraction=0.34, seed=7)
    assert [each.path for each in other.samples] != [each.path for each in anew.samples]
    with pytest.raises(UserError, match="give only one"):
        choose_split(dataset, NOWHERE, val_fraction=0.34, split_file="split.csv")
    with pytest.raises(UserError, match=r"none\.csv"):
        choose_split(dataset, NOWHERE, split_file=tmp_path / "none.csv")


def test_what_would_have_no_effect_is_refused(world, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`seed=7` has no effect without `val_fraction`"):
        choose_split(open_dataset.read(world.data), NOWHERE, seed=7)
    with pytest.raises(UserError, match=r"`val_fraction=0\.3` has no effect: .* val split of its own"):
        choose_split(folder(world, tmp_path / "two", "train", "val"), NOWHERE, val_fraction=0.3)


def test_a_misspelled_split(world) -> None:
    with pytest.raises(UserError, match=r"received 'tset'\. Did you mean 'test'\?"):
        choose_split(open_dataset.read(world.data), NOWHERE, split="tset")


def test_models_with_a_test_split_in_common_are_compared_on_it(world) -> None:
    dataset = open_dataset.read(world.data)
    first = list(lineage.sha256_of_samples(dataset.samples))

    def trained_with(test: set[int]) -> Lineage:
        splits = {digest: "test" if at in test else ("val", "train")[at % 2] for at, digest in enumerate(first)}
        return Lineage(frozenset(digest for digest, split in splits.items() if split == "train"), splits)

    chosen = not_trained_on(dataset, [("a", trained_with({0, 1, 2, 3})), ("b", trained_with({2, 3, 4, 5}))])
    assert chosen is not None
    assert (chosen.name, chosen.samples) == ("test", tuple(dataset.samples[2:4]))
    assert chosen.reason == "those in the test split of each of the models"
    other = not_trained_on(dataset, [("a", trained_with({0})), ("b", trained_with({2}))])
    assert other is not None
    assert (other.name, len(other.samples)) == ("not_trained_on", 9)
