"""As many images of each class, none that the gate has, and the same ones each time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.data.image.preprocess import Preprocess
from resnets.errors import JobError, UserError
from resnets.export.quantization.calibration_images import CalibrationImages, choose, load
from resnets.hashing import sha256

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """20, 20 and 3 images of three classes, and one without a label."""
    folder = tmp_path_factory.mktemp("images")
    found = []
    for index, label in enumerate([*"a" * 20, *"b" * 20, *"c" * 3, None]):
        path = folder / f"{index:02}.png"
        Image.new("RGB", (4 + index, 5), (index, 0, 0)).save(path)
        found.append(Sample(str(path), None if label is None else (label,)))
    return found


def chosen(samples: list[Sample], count: int = 15, seed: int = 0, excluded: tuple[str, ...] = ()) -> CalibrationImages:
    return choose(samples, NAMES, count=count, seed=seed, excluded=excluded, split="the train split")


def test_classes_are_balanced_as_far_as_there_are_images(samples: list[Sample]) -> None:
    assert chosen(samples, 9).classes == {"a": 3, "b": 3, "c": 3}
    assert chosen(samples, 15).classes == {"a": 6, "b": 6, "c": 3}
    everything = chosen(samples, 300)
    assert everything.classes == {"a": 20, "b": 20, "c": 3}
    assert (len(everything.samples), everything.asked) == (43, 300)
    assert "43 images of the train split (300 were asked for; there are no more)" in everything.in_words()


def test_the_choice_depends_on_the_seed_only(samples: list[Sample]) -> None:
    first = chosen(samples)
    assert chosen(samples) == first
    assert chosen(samples, seed=1).sha256 != first.sha256
    text = "".join(f"{sha256(sample.path)}\n" for sample in first.samples)
    assert first.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_what_the_gate_has_is_left_out_by_its_content_and_counted(samples: list[Sample], tmp_path: Path) -> None:
    first = chosen(samples)
    gate = tuple(str(sample.sha256) for sample in first.samples[:4])
    found = chosen(samples, excluded=gate)
    assert not {sample.sha256 for sample in found.samples} & set(gate)
    assert len(found.samples) == 15
    assert found.shared == 4
    assert "4 images left out that the gate has, too" in found.in_words()
    everything = tuple(sha256(sample.path) for sample in samples)
    with pytest.raises(
        UserError, match="No images of the train split are left for the calibration; 43 images the gate"
    ):
        chosen(samples, excluded=everything)


def test_no_content_counts_twice(samples: list[Sample], tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(samples[0].path).read_bytes())
    found = chosen([*samples[:3], Sample(str(copy), ("a",))], 300)
    assert len(found.samples) == 3


def test_images_that_cannot_be_read_are_named(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"gone\.png' cannot be read"):
        chosen([Sample(str(tmp_path / "gone.png"), ("a",))])
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(samples[0].path).read_bytes()[:40])
    with pytest.raises(JobError, match=r"broken\.png"):
        load([broken], Preprocess.plain(8, (0.0,) * 3, (1.0,) * 3), "normalize")


def test_images_are_what_the_graph_receives(samples: list[Sample]) -> None:
    preprocess = Preprocess(size=(8, 6), resize="stretch", resize_to=None, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = load([sample.path for sample in samples[:3]], preprocess, "normalize")
    assert [each.shape for each in found] == [(1, 8, 6, 3)] * 3
    assert {each.dtype for each in found} == {np.dtype(np.uint8)}
    assert found[2][0, 0, 0].tolist() == [2, 0, 0]
