"""The weights in the package: whole, within the figures of the paper, used by name and without a network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tests.in_soak import only_in_soak

import resnets
from resnets.cli.main import main
from resnets.data.datasets import generate_digit_scenes
from resnets.models.detection import zoo as detectors
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, header_format
from resnets.weights.hub import bundled, catalog

NAME = "cifar_resnet20.cifar10"
FAST = "cifar_fast.cifar10"
ACCURACIES = {NAME: (91.68, 99.74), FAST: (93.45, 99.83)}  # top-1 and top-5, percent of the 10,000 test images
DETECTOR = "fasterrcnn_light_tiny.digit_scenes"
BOX_AP = 83.65  # percent, on the 400 test scenes of docs/detection.md
SHA256 = {
    NAME: "fdf1516628ebc1c71ff76101cade6323efe099bb8799f2a547d6ccd7a41a0031",
    FAST: "eb424021beccb274e082c1886b42ed3d7b12b293c775a9942d38e9fb9eecd63f",
    DETECTOR: "3a2c8cfe8ab06aacc1a020a856525278cdc9323c6ba3dd6b4a3d6deda7f7db9e",
}


def test_what_is_in_the_package() -> None:
    """The figures are those of docs/recipes.md; the files are those that were measured."""
    found = {name: (entry.top1, entry.top5, entry.box_ap) for name, entry in bundled.entries().items()}
    assert found == {
        name: (*ACCURACIES.get(name, (None, None)), BOX_AP if name == DETECTOR else None) for name in SHA256
    }
    for name, digest in SHA256.items():
        path = bundled.path_of(name)
        assert path is not None
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        *((name, "CIFAR-10, the 10,000 test images") for name in ACCURACIES),
        (DETECTOR, "digit-scenes, the 400 test images"),
    ],
)
def test_the_header_is_of_the_current_format(name: str, protocol: str) -> None:
    path = bundled.path_of(name)
    assert path is not None
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[header_format.KEY])
    assert header["format"] == header_format.FORMAT
    assert header_format.upgrade(header) == header
    assert header["metrics"]["protocol"] == protocol


@pytest.mark.parametrize("name", bundled.names())
def test_every_file_is_a_whole_checkpoint_that_says_how_good_it_is(name: str) -> None:
    found = checkpoints.read(name, task=None)  # its checksum is compared
    entry = bundled.entries()[name]
    assert (found.spec.name, len(found.class_names)) == (detectors.backbone_name(entry.model), entry.num_classes)
    assert name.startswith(f"{entry.model}.")
    assert entry.megabytes < 12
    assert not catalog.known(name)


def test_it_is_within_the_papers_figure() -> None:
    """He et al. 2015, table 6: 8.75 % error for 20 layers."""
    assert 100 - bundled.entries()[NAME].top1 <= 8.75 + 0.35


def test_half_precision_is_kept_and_computed_in_float32() -> None:
    """Half of the file's size; the figures are those of the rounded weights."""
    found = checkpoints.read(FAST)
    assert {tensor.dtype for tensor in found.tensors.values() if tensor.is_floating_point()} == {torch.float16}
    assert {parameter.dtype for parameter in checkpoints.network(found).parameters()} == {torch.float32}


@only_in_soak("10,000 images")
@pytest.mark.parametrize("name", ACCURACIES)
def test_the_figure_in_the_header_is_that_of_the_test_images(name: str, shared, tmp_path: Path) -> None:
    """All 10,000 of them, at fp32 and without any backend."""
    with tarfile.open(shared("data/cifar10-test.tar")) as archive:
        archive.extractall(tmp_path, filter="data")
    found = checkpoints.read(name)
    files = sorted(tmp_path.rglob("*.webp"))
    truth = torch.tensor([found.class_names.index(file.parent.name) for file in files])
    net = checkpoints.network(found)
    with torch.inference_mode():
        logits = torch.cat(
            [net(torch.stack([found.preprocess.load(file) for file in batch])) for batch in batches(files)]
        )
    assert len(files) == 10_000
    assert float((logits.argmax(1) == truth).double().mean()) == found.metrics["top1"]
    assert float((logits.topk(5).indices == truth[:, None]).any(1).double().mean()) == found.metrics["top5"]


def batches(files: list[Path]) -> Iterator[list[Path]]:
    return (files[start : start + 250] for start in range(0, len(files), 250))


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_weights.find_file(NAME) == bundled.path_of(NAME)
    (tmp_path / NAME).touch()
    assert find_weights.find_file(NAME) == Path(NAME)


def test_other_names_are_not_there() -> None:
    assert bundled.path_of("cifar_resnet20") is None
    assert bundled.path_of("../bundled_weights/" + NAME) is None


def test_bundled_weights_are_inspected_by_their_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["weights", "inspect", NAME]) == 0
    assert "cifar_resnet20" in capsys.readouterr().out
    out = tmp_path / "copy.safetensors"
    assert main(["weights", "convert", NAME, "--to", "resnets", "--out", str(out)]) == 0
    assert main(["weights", "verify", NAME, str(out)]) == 0


def test_it_answers_offline_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    image = tmp_path / "image.jpg"
    Image.new("RGB", (60, 40), (90, 140, 200)).save(image)
    (answer,) = resnets.load(NAME).predict([image])
    assert answer.label in checkpoints.read(NAME).class_names
    net = resnets.create_model("cifar_resnet20", weights=NAME, num_classes=3)
    assert net.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_the_detector_finds_the_digits_of_a_scene_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its operating point is about 93 % of the digits and 93 % of what it reports; in 30 test scenes, at least 85 %."""
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    generate_digit_scenes.write(tmp_path, generate_digit_scenes.make_settings(count=150))
    rows = json.loads((tmp_path / "test" / "_annotations.coco.json").read_text())
    expected = {Path(row["file_name"]).name: [] for row in rows["images"]}
    names = {row["id"]: row["file_name"] for row in rows["images"]}
    for row in rows["annotations"]:
        expected[names[row["image_id"]]].append(str(row["category_id"] - 1))
    found = {
        Path(each.path).name: sorted(o.label for o in each.objects)
        for each in resnets.load(DETECTOR).predict(sorted((tmp_path / "test").glob("*.png")))
    }
    assert len(found) == len(expected) == 30
    right = sum((Counter(found[name]) & Counter(labels)).total() for name, labels in expected.items())
    assert right >= 0.85 * max(sum(map(len, expected.values())), sum(map(len, found.values())))


@only_in_soak("6 s")
def test_bf16_changes_the_ap_of_the_detector_by_at_most_two_points(tmp_path: Path) -> None:
    """By 0.1 points on the 400 test scenes; of 20 scenes, one object of another score counts for more."""
    generate_digit_scenes.write(tmp_path, generate_digit_scenes.make_settings(count=100))
    evaluated = [
        resnets.evaluate(DETECTOR, tmp_path, precision=precision, backend="torch") for precision in ("fp32", "bf16")
    ]
    assert [each.metrics["count"] for each in evaluated] == [20, 20]
    fp32, bf16 = (each.metrics["box_ap"] for each in evaluated)
    assert fp32 != bf16  # something was computed in bf16
    assert abs(fp32 - bf16) <= 0.02


def test_the_names_are_read_without_torch() -> None:
    code = "import sys; from resnets.weights.hub import bundled; print(*bundled.entries()); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == bundled.names()
