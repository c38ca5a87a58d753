"""Which images weights were trained on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from resnets.data.datasets.dataset import Sample
from resnets.data.split import lineage
from resnets.data.split.lineage import Lineage
from resnets.weights.hub import bundled


def run(root: Path, rows: dict[str, str], **facts: object) -> Path:
    """A run directory with this split (SHA-256: split); gives the path that its best weights would have."""
    (root / "weights").mkdir(parents=True)
    (root / "recipe.toml").touch()
    lines = [f"{digest}.png,{digest},a,{split}," for digest, split in rows.items()]
    (root / "split.csv").write_text("\n".join(["path,sha256,label,split,group", *lines]) + "\n")
    (root / "environment.json").write_text(json.dumps(facts))
    return root / "weights" / "best.safetensors"


def images(*digests: str) -> list[Sample]:
    return [Sample(f"{digest}.png", ("a",), sha256=digest) for digest in digests]


def test_a_run_tells_its_training_images_and_those_of_the_weights_before_it(tmp_path: Path) -> None:
    first = run(tmp_path / "first", {"aa": "train", "bb": "val"})
    second = run(tmp_path / "second", {"bb": "train", "cc": "val"}, parent_sha256="1")
    lineage.write_parent_lineage(tmp_path / "second", lineage.lineage_of(first))
    found = lineage.lineage_of(second)
    assert (found.train, found.splits, found.gap) == ({"aa", "bb"}, {"bb": "train", "cc": "val"}, "")
    assert found.count_seen(images("aa", "bb", "cc", "dd")) == 2
    assert found.seen_message(images("aa", "cc"), "test images", "it").startswith(
        "1 of the 2 test images were used to train it: "
    )
    assert found.seen_message(images("cc", "dd"), "test images", "it") == ""


def test_what_is_not_known_is_in_the_message(tmp_path: Path) -> None:
    alone = lineage.lineage_of(tmp_path / "moved.safetensors", {"split_sha256": "0"})
    assert alone.count_seen(images("aa")) is None
    assert "not known: the file is outside its run directory" in alone.seen_message(images("aa"), "val images", "it")
    assert "their origin is not recorded" in lineage.lineage_of(tmp_path / "imagenet.safetensors", {}).gap
    without = run(tmp_path / "without", {"aa": "train"}, parent_sha256="1")  # of a version that wrote no lineage
    assert "1 of the 1 val images were used to train it, and perhaps more" in lineage.lineage_of(without).seen_message(
        images("aa"), "val images", "it"
    )
    assert "is not known: the run began from other weights" in lineage.lineage_of(without).seen_message(
        images("bb"), "val images", "it"
    )


def test_weights_without_a_run_are_called_what_they_are(tmp_path: Path) -> None:
    beside = run(tmp_path / "run", {"aa": "train"}, parent_sha256="1").with_name("converted.safetensors")
    for origin, said in (
        ({"converted_from": "net.pth", "parent_sha256": "2"}, "they were converted from 'net.pth'"),
        ({"published": "resnet18.tv", "parent_sha256": "2"}, "they are the published weights resnet18.tv"),
    ):
        for path in (beside, tmp_path / "net.safetensors"):
            assert lineage.lineage_of(path, origin).gap.startswith(said)
            assert lineage.lineage_of(path, origin).count_seen(images("aa")) is None


def test_the_training_images_of_bundled_weights_are_named() -> None:
    assert {name.partition(".")[2] for name in bundled.names()} == lineage.BUNDLED_TRAINING_SETS.keys()
    folder = Path(lineage.__file__).parents[2] / "weights" / "hub" / "bundled_weights"
    classifier = lineage.lineage_of(folder / "cifar_resnet20.cifar10.safetensors", {"split_sha256": "0"})
    assert classifier.seen_message(images("aa"), "val images", "it") == (
        "whether some of the val images were used to train it is not known: 'cifar_resnet20.cifar10' is part of the package, "
        "trained on the 50,000 training images of CIFAR-10, whose files it does not list"
    )


def test_a_split_of_another_run_is_not_taken_for_that_of_the_weights(tmp_path: Path) -> None:
    path = run(tmp_path / "other", {"aa": "train"})
    assert "is not the split that" in lineage.lineage_of(path, {"split_sha256": "0"}).gap


def test_a_split_file_in_another_folder_is_not_that_of_weights_that_lie_there(tmp_path: Path) -> None:
    path = run(tmp_path / "folder", {"aa": "train"})
    (tmp_path / "folder" / "recipe.toml").unlink()
    assert lineage.lineage_of(path) == Lineage(gap="their origin is not recorded")
    assert lineage.find_run_dir(path) is None
    (tmp_path / "folder" / "recipe.toml").touch()
    assert lineage.find_run_dir(path) == tmp_path / "folder"
    assert lineage.find_run_dir(tmp_path / "folder" / "models" / "net.safetensors") is None
    assert lineage.find_split_record(path, {"converted_from": "net.pth"})[0] is None


def test_without_training_images_there_is_no_message() -> None:
    assert Lineage().seen_message(images("aa"), "val images", "it") == ""


def test_what_was_hashed_once_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"content")
    hashed = lineage.with_sha256([Sample(str(tmp_path / "image.png")), Sample(str(tmp_path / "none.png"))])
    (tmp_path / "image.png").unlink()
    assert hashed[1].sha256 is None
    assert Lineage(frozenset({hashlib.sha256(b"content").hexdigest()})).count_seen(hashed) == 1
    assert lineage.with_sha256(hashed) == hashed
