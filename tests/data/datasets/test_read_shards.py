"""Shards: the same images, in tars that the library reads, in an order that is a stream, and nothing lost or cut unseen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from resnets.data.check import check, check_file
from resnets.data.datasets import open_dataset, read_shards, write_shards
from resnets.data.datasets.dataset import (
    Dataset,
    IndexedSamples,
    Sample,
    remap_classes,
    sample_labels,
    sample_paths,
    sample_weights,
)
from resnets.data.image.decode import DecodeError, decode, inspect
from resnets.data.image.preprocess import Preprocess
from resnets.data.split import lineage
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split
from resnets.data.split.stratify_groups import cluster_indices
from resnets.errors import JobError, UserError
from resnets.hashing import sha256

COUNT = 60


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images of two classes in the three splits, one of them with a suffix in capitals and one of weight 3."""
    root = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    found = []
    for number in range(COUNT):
        label = ("ant", "größe")[number % 2]
        path = root / label / f"{number}{'.JPG' if number == 7 else '.png'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
        split = "test" if number < 4 else "val" if number < 16 else "train"
        found.append(Sample(str(path), (label,), split, weight=3.0 if number == 20 else 1.0))
    return Dataset(root, tuple(found), ("ant", "größe"))


@pytest.fixture(scope="module")
def written(divided: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "shards"
    assert write_shards.write(out, divided, size_mb=0.03) == {"train": 6, "val": 2, "test": 1}
    return out


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "shards")


def test_every_image_comes_back_with_its_bytes_class_split_and_weight(divided: Dataset, written: Path) -> None:
    def content(sample: Sample) -> tuple[object, ...]:
        found = check_file.inspect_file(sample.path)
        return found.sha256, found.bytes, sample.label, sample.split, sample.weight, inspect(sample.path)

    dataset = open_dataset.read(written)
    assert sorted(map(content, dataset.samples), key=str) == sorted(map(content, divided.samples), key=str)
    assert (dataset.class_names, dataset.splits) == (divided.class_names, divided.splits)
    for split in dataset.splits:
        assert {sample.split for sample in dataset.subset(split)} == {split}
        assert len(dataset.subset(split)) == len(divided.subset(split)) == len(list(dataset.subset(split)))
    assert all(decode(sample.path).shape == (20, 24, 3) for sample in dataset.samples)
    names = [Path(sample.path).name for sample in dataset.samples]
    assert names == [f"{number:08d}.{'jpg' if name.endswith('jpg') else 'png'}" for number, name in enumerate(names)]
    assert sum(name.endswith(".jpg") for name in names) == 1
    assert [error for _, error in check.verify_images(dataset.samples) if error] == []


def test_the_library_reads_the_tars(divided: Dataset, written: Path) -> None:
    tars = sorted(map(str, written.glob("train-*.tar")))
    items = list(webdataset.WebDataset(tars, shardshuffle=False))
    expected = {Path(sample.path).read_bytes(): sample for sample in divided.subset("train")}
    assert len(items) == len(expected)
    for item in items:
        sample = expected[item.get("png", item.get("jpg"))]
        assert divided.class_names[int(item["cls"])] == sample.label
        assert json.loads(item["json"]) == {
            "label": sample.label,
            "path": Path(sample.path).relative_to(divided.root).as_posix(),
        }
    order = [json.loads(item["json"])["path"] for item in items]
    assert order != [Path(sample.path).relative_to(divided.root).as_posix() for sample in divided.subset("train")]


def test_the_same_images_give_the_same_bytes(divided: Dataset, written: Path, tmp_path: Path) -> None:
    write_shards.write(tmp_path / "again", divided, size_mb=0.03)
    write_shards.write(tmp_path / "other", divided, size_mb=0.03, seed=4)
    names = sorted(path.name for path in written.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert all((written / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    assert (written / "train-000000.tar").read_bytes() != (tmp_path / "other" / "train-000000.tar").read_bytes()


def test_the_sequence_is_lazy_and_slices_like_a_tuple(written: Path) -> None:
    stored = open_dataset.read(written).samples
    assert isinstance(stored, IndexedSamples)
    whole = tuple(stored)
    for cut in (slice(3, 50), slice(None, None, 7), slice(50, 10), slice(-5, None)):
        assert tuple(stored[cut]) == whole[cut]
        assert list(sample_paths(stored[cut])) == [sample.path for sample in whole[cut]]
        classes = ("größe", "bee", "ant")
        assert sample_labels(stored[cut], classes).tolist() == sample_labels(whole[cut], classes).tolist()
        assert sample_weights(stored[cut]).tolist() == sample_weights(whole[cut]).tolist()
    assert stored[-1] == whole[-1]
    assert sample_paths(stored)[5] == whole[5].path
    with pytest.raises(IndexError):
        stored[COUNT]
    counts = [shard["count"] for shard in json.loads((written / "shards.json").read_text())["shards"]]
    assert stored.shard_sizes == counts
    assert sum(stored[counts[0] - 2 : counts[0] + 3].shard_sizes) == 5
    assert stored[counts[0] - 2 : counts[0] + 3].shard_sizes == [2, 3]
    assert (
        stored.subset("train").shard_sizes + stored.subset("val").shard_sizes + stored.subset("test").shard_sizes
        == counts
    )


def test_classes_are_bound_by_name(written: Path) -> None:
    dataset = open_dataset.read(written)
    bound = remap_classes(dataset, ["größe".replace("ö", "o\u0308"), "ant", "bee"])
    assert {sample.label for sample in bound.samples} == {"ant", "gro\u0308ße"}
    with pytest.raises(UserError, match="unknown to a model of 'ant'"):
        remap_classes(dataset, ["ant"])


def test_shards_are_not_divided_again(written: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split when they were written"):
        make_split(open_dataset.read(written))
    with pytest.raises(UserError, match="split when they were written"):
        read_split(tmp_path / "split.csv", open_dataset.read(written))


def test_shards_can_be_written_from_shards(written: Path, tmp_path: Path) -> None:
    write_shards.write(tmp_path / "larger", open_dataset.read(written))
    before, after = open_dataset.read(written), open_dataset.read(tmp_path / "larger")
    assert len(list(tmp_path.glob("larger/*.tar"))) == 3
    for split in before.splits:
        contents = [
            sorted(check_file.inspect_file(each.path).sha256 for each in x.subset(split)) for x in (before, after)
        ]
        assert contents[0] == contents[1]


def test_larger_images_are_resized_and_the_network_sees_the_same(tmp_path: Path, capsys) -> None:
    """Within a mean of 1.5 and 24 at most of 255 steps, on soft scenes; smaller files keep their bytes."""
    noise, found = np.random.default_rng(1), []
    for number, (size, name) in enumerate(
        {(200, 120): "a.jpg", (90, 300): "b.png", (60, 40): "c.jpg", (70, 64): "d.webp"}.items()
    ):
        image = Image.fromarray(noise.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        exif = Image.Exif()
        exif[0x0112] = 6  # turned, which the smaller image is already
        image.save(tmp_path / name, **({"exif": exif, "quality": 95} if number == 0 else {}))
        found.append(Sample(str(tmp_path / name), ("ab"[number % 2],), "val"))
    before = Dataset(tmp_path, tuple(found), ("a", "b"))
    write_shards.write(tmp_path / "out", before, resize=64)
    assert "2 of 4 images were resized to a shorter side of 64; none was enlarged" in capsys.readouterr().err
    after = open_dataset.read(tmp_path / "out").samples
    assert [inspect(each.path)[:4] for each in after] == [
        ("JPEG", "RGB", 64, 106), ("PNG", "RGB", 64, 213), ("JPEG", "RGB", 60, 40), ("WEBP", "RGB", 70, 64),
    ]  # fmt: skip
    assert [check_file.inspect_file(after[k].path).sha256 for k in (2, 3)] == [
        check_file.inspect_file(found[k].path).sha256 for k in (2, 3)
    ]
    assert [each.sha256 for each in after] == [sha256(each.path) for each in found]
    assert read_shards.upscale_warning(open_dataset.read(tmp_path / "out"), 64) == ""
    assert "shorter side of 64 pixels, and 73 are needed" in read_shards.upscale_warning(
        open_dataset.read(tmp_path / "out"), 73
    )
    preprocess = Preprocess(size=(56, 56), resize_to=64, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    for old, new in zip(before.samples, after, strict=True):
        difference = (preprocess.load(old.path) - preprocess.load(new.path)).abs()
        assert float(difference.mean()) < 1.5
        assert float(difference.max()) < 24
    with pytest.raises(UserError, match="`resize` is 0"):
        write_shards.write(tmp_path / "none", before, resize=0)


def test_a_tar_that_was_cut_off_is_named(copied: Path) -> None:
    dataset = open_dataset.read(copied)
    last = dataset.subset("train")[-1]
    tar = copied / "train-000005.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content) // 3])
    for look in (decode, inspect):
        with pytest.raises(
            DecodeError, match=r"train-000005\.tar@\d+\+\d+/000000\d\d.png' ends beyond its tar: .* cut"
        ):
            look(last.path)
    error = check_file.verify_image(last.path)[1]
    assert error is not None
    assert error.kind == "truncated"
    assert check_file.inspect_file(last.path).error.kind == "truncated"
    with pytest.raises(UserError, match=r"no longer what was written: 'train-000005.tar' has [\d,]+ bytes, not [\d,]+"):
        open_dataset.read(copied)
    tar.unlink()
    with pytest.raises(UserError, match=r"'train-000005.tar' is missing"):
        open_dataset.read(copied)
    with pytest.raises(DecodeError, match="does not exist"):
        decode(last.path)


def test_copies_and_groups_are_known_and_copied_along(divided: Dataset, tmp_path: Path) -> None:
    """Four of the images are of two groups, and one is the copy of another."""
    groups = {0: "patient 1", 1: "patient 2", 2: "patient 1", 3: "patient 2"}
    found = [replace(each, group=groups.get(index)) for index, each in enumerate(divided.subset("val")[:6])]
    shutil.copy(found[0].path, tmp_path / "copy.png")
    found.append(replace(found[5], path=str(tmp_path / "copy.png")))
    write_shards.write(tmp_path / "out", replace(divided, samples=tuple(found)), resize=16)
    write_shards.write(tmp_path / "again", open_dataset.read(tmp_path / "out"))
    for name in ("out", "again"):
        after = open_dataset.read(tmp_path / name).samples
        clusters = cluster_indices(after).tolist()
        assert [clusters.index(each) for each in clusters] == [0, 1, 0, 1, 4, 5, 0]
        assert [each.sha256 for each in after] == [sha256(each.path) for each in found]
        assert [each.group is None for each in after] == [False] * 4 + [True] * 3
        weights = lineage.Lineage(frozenset(sha256(each.path) for each in found[:2]))
        assert weights.count_seen(after) == 3


def test_shards_of_another_format_are_refused(copied: Path) -> None:
    manifest = json.loads((copied / "shards.json").read_text())
    (copied / "shards.json").write_text(json.dumps({**manifest, "format": "resnets-shards-1"}))
    with pytest.raises(UserError, match=r"does not describe shards: its format is resnets-shards-1.*Write them again"):
        open_dataset.read(copied)


def test_changed_files_are_refused(copied: Path) -> None:
    index = bytearray((copied / "index.npy").read_bytes())
    index[-1] ^= 1
    (copied / "index.npy").write_bytes(index)
    with pytest.raises(UserError, match=r"'index.npy' is not the one that was written"):
        open_dataset.read(copied)
    (copied / "shards.json").write_text("{}")
    with pytest.raises(UserError, match="does not describe shards"):
        open_dataset.read(copied)


def test_a_run_refuses_other_shards_and_names_them(divided: Dataset, written: Path, tmp_path: Path) -> None:
    kept = written / "shards.json"
    read_shards.check_unchanged(kept, open_dataset.read(written))
    less = replace(divided, samples=divided.samples[:-6])
    write_shards.write(tmp_path / "less", less, size_mb=0.03)
    with pytest.raises(
        UserError, match=r"since the run began: .*'train-000000.tar' has another content \(of the same size\)"
    ):
        read_shards.check_unchanged(kept, open_dataset.read(tmp_path / "less"))


def test_unfinished_shards_are_refused(divided: Dataset, tmp_path: Path) -> None:
    gone = replace(divided, samples=(*divided.samples, Sample(str(tmp_path / "gone.png"), ("ant",), "val")))
    with pytest.raises(JobError, match=r"gone.png' does not exist.*unfinished"):
        write_shards.write(tmp_path / "out", gone, size_mb=0.03)
    with pytest.raises(UserError, match="their writing did not end"):
        open_dataset.read(tmp_path / "out")
    with pytest.raises(UserError, match="holds shards whose writing did not end"):
        write_shards.write(tmp_path / "out", divided)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        write_shards.write(tmp_path / "full", divided)


def test_a_file_whose_name_looks_like_an_address_is_a_file(divided: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "x.tar@1+2"
    folder.mkdir()
    path = shutil.copy(divided.samples[0].path, folder / "a.png")
    assert decode(path).shape == (20, 24, 3)


def test_weights_trained_on_shards_have_learned_from_their_images(
    divided: Dataset, copied: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "weights").mkdir(parents=True)
    (run / "recipe.toml").write_text(f"[data]\nlocation = {json.dumps(str(copied))}\n")
    shutil.copy(copied / "shards.json", run)
    best, origin = run / "weights" / "best.safetensors", {"split_sha256": sha256(run / "shards.json")}
    found = lineage.lineage_of(best, origin)
    assert (found.gap, found.count_seen(divided.samples), found.count_seen(divided.subset("val"))) == (
        "",
        len(divided.subset("train")),
        0,
    )
    assert found.count_seen(open_dataset.read(copied).samples) == len(divided.subset("train"))
    assert "is not the split that" in lineage.lineage_of(best, {"split_sha256": "0"}).gap
    facts = json.loads((copied / "shards.json").read_text())
    (copied / "shards.json").write_text(json.dumps(facts, indent=1))
    assert "are no longer those that they were trained on" in lineage.lineage_of(best, origin).gap
    shutil.rmtree(copied)
    assert lineage.lineage_of(best, origin).gap == "the shards that they were trained on were moved or removed"
    assert lineage.lineage_of(best, origin).count_seen(divided.samples) is None


def test_images_of_several_labels_are_refused(divided: Dataset, tmp_path: Path) -> None:
    several = replace(divided, samples=(replace(divided.samples[0], labels=("ant", "größe")),))
    with pytest.raises(UserError, match=r"Shards hold one label for each image; '.*0\.png' has none, or several"):
        write_shards.write(tmp_path / "shards", several)
