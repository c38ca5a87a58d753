"""What is saved comes back, and nothing else is taken for it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnets.data.image.preprocess import Preprocess
from resnets.errors import JobError, UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint, network, read, save

CLASSES = ("Löwe", "ant eater", "猫\udcff")


def made(**changes: Any) -> Checkpoint:
    torch.manual_seed(0)
    spec = zoo.get_spec("tiny", num_classes=3)
    values: dict[str, Any] = {
        "spec": spec,
        "preprocess": Preprocess.imagenet(32),
        "class_names": CLASSES,
        "tensors": build(spec).state_dict(),
        "metrics": {"top1": 0.91, "count": 200, "split": "val", "top1_interval": [0.86, 0.94], "nothing": None},
        "provenance": {"recipe": "scratch", "parent": {"sha256": "ab" * 32}},
        "config": {"label_smoothing": 0.1},
        "fitted": {"temperature": 1.25},
    }
    return Checkpoint(**{**values, **changes})


def same(one: Checkpoint, other: Checkpoint) -> bool:
    fields = ("spec", "preprocess", "class_names", "task", "metrics", "provenance", "config", "fitted")
    return (
        all(getattr(one, name) == getattr(other, name) for name in fields)
        and one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("content") / "c.safetensors"
    save(path, made())
    return path.read_bytes()


def test_everything_comes_back(tmp_path: Path) -> None:
    save(tmp_path / "c.safetensors", made())
    assert same(read(tmp_path / "c.safetensors"), made())


def test_the_same_content_is_the_same_bytes_in_another_process_too(tmp_path: Path, content: bytes) -> None:
    turned = dict(reversed(made().tensors.items()))
    provenance = dict(reversed(made().provenance.items()))
    save(tmp_path / "turned.safetensors", made(tensors=turned, provenance=provenance))
    assert (tmp_path / "turned.safetensors").read_bytes() == content
    (tmp_path / "c.safetensors").write_bytes(content)
    code = "import sys; from resnets.weights.checkpoint import read, save; save(sys.argv[2], read(sys.argv[1]))"
    out = tmp_path / "out.safetensors"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "c.safetensors", out], env=environment, check=True)
    assert out.read_bytes() == content


def test_every_network_of_a_family_builds_from_its_file(tmp_path: Path) -> None:
    for name in ("cifar_resnet20", "cifar_preresnet110", "cifar_highway20"):
        spec = zoo.get_spec(name, num_classes=3)
        net = build(spec).eval()
        save(tmp_path / "c.safetensors", made(spec=spec, tensors=net.state_dict()))
        image = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(network(read(tmp_path / "c.safetensors"))(image), net(image))


def test_building_from_weights_draws_no_random_numbers(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").write_bytes(content)
    found = read(tmp_path / "c.safetensors")
    before = torch.random.get_rng_state()
    net = network(found)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not net.training
    assert all(tensor.device.type == "cpu" for tensor in (*net.parameters(), *net.buffers()))
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_half_precision_and_channels_last_tensors_are_saved_as_they_are(tmp_path: Path) -> None:
    half = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in made().tensors.items()
    }
    last = {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for name, tensor in half.items()
    }
    save(tmp_path / "half.safetensors", made(tensors=last))
    assert same(read(tmp_path / "half.safetensors"), made(tensors=half))
    assert next(network(read(tmp_path / "half.safetensors")).parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "shows"),
    [
        ({"class_names": ("a", "b")}, "2 class names do not fit a network with 3 outputs"),
        ({"class_names": ("a", "b", "a")}, "different"),
        ({"class_names": ("a", "", "c")}, "not empty"),
        ({"fitted": {"temperature": 0.0}}, "temperature"),
        ({"fitted": {"temperature": float("nan")}}, "temperature"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_cannot_be_made(changes: dict[str, Any], shows: str) -> None:
    with pytest.raises(UserError, match=shows):
        made(**changes)


def test_a_checkpoint_without_names_has_none(tmp_path: Path) -> None:
    save(tmp_path / "c.safetensors", made(class_names=()))
    found = read(tmp_path / "c.safetensors")
    assert found.class_names == ()
    assert found.display_names == ("output 0", "output 1", "output 2")


def test_numbers_that_an_earlier_release_kept_as_names_are_none(tmp_path: Path) -> None:
    """Format 1 still loads; names that the user gave are kept, even if they are numbers."""
    converted = {"converted_from": "r.pth"}
    save(tmp_path / "c.safetensors", made(class_names=("0", "1", "2"), provenance=converted))
    assert read(tmp_path / "c.safetensors").class_names == ()
    save(
        tmp_path / "c.safetensors", made(class_names=("0", "1", "2"), provenance={**converted, "class_names": "given"})
    )
    assert read(tmp_path / "c.safetensors").class_names == ("0", "1", "2")
    save(tmp_path / "c.safetensors", made(class_names=("0", "1", "2")))
    assert read(tmp_path / "c.safetensors").class_names == ("0", "1", "2")


def test_what_is_not_json_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path / "c.safetensors", made(metrics={"loss": float("nan")}))
    assert not any(tmp_path.iterdir())


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="Cannot write"):
        save(tmp_path / "file" / "c.safetensors", made())


# what is no checkpoint


def refused(path: Path, *shows: str) -> None:
    with pytest.raises(UserError) as caught:
        network(read(path))
    message = str(caught.value)
    assert "\n" not in message
    for text in (str(path), *shows):
        assert text in message


def test_a_missing_remote_file(tmp_path: Path) -> None:
    (tmp_path / "beast.safetensors").write_bytes(b"")
    refused(
        tmp_path / "best.safetensors", "There is no checkpoint", f"Did you mean '{tmp_path / 'beast.safetensors'}'?"
    )
    refused(tmp_path / "resnet50", "'resnet50' is the name of a network, not of trained weights")
    refused(tmp_path / "yolov3_resnet18", "'yolov3_resnet18' is the name of a network, not of trained weights")
    refused(tmp_path / "beast.safetensors" / "inside", "There is no checkpoint")


def test_a_run_directory_means_its_best_weights(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, "is a folder without weights/best.safetensors")
    (tmp_path / "other.safetensors").write_bytes(content)
    refused(tmp_path, "In it: other.safetensors")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "best.safetensors").write_bytes(content)
    assert same(read(tmp_path), made())
    assert same(read(tmp_path / "weights"), made())


def test_files_of_another_kind(tmp_path: Path) -> None:
    kinds = {
        "empty": (b"", "an empty file"),
        "text": ("größe\n".encode(), "a text file"),
        "image": (b"\xff\xd8\xff\xe0" + bytes(100), "an image", "Name the checkpoint first"),
        "h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5", "Keras"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs pull"),
        "noise": (bytes(range(255, 0, -1)) * 9, "no safetensors file"),
        "short": (b"\1\0\0", "no safetensors file"),
    }
    for name, (data, *shows) in kinds.items():
        (tmp_path / name).write_bytes(data)
        convert = f"resnets weights convert {tmp_path / name} --to resnets"
        refused(tmp_path / name, *shows, convert if name == "h5" else "A checkpoint of resnets is a .safetensors file")


def test_pickles_of_torch_are_named_and_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    for name, new in (("new.pth", True), ("old.pth", False)):
        torch.save({"weights": Trap()}, tmp_path / name, _use_new_zipfile_serialization=new)
        refused(tmp_path / name, "torch.save", "Python pickle", "resnets weights convert")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not an ordinary file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.safetensors").write_bytes(content)
    (tmp_path / "c.safetensors").chmod(0)
    refused(tmp_path / "c.safetensors", "Permission denied")


def test_a_file_that_was_cut_off(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[:-1])
    refused(path, f"it holds {len(content) - 1:,} of {len(content):,} bytes")
    path.write_bytes(content[:300])
    refused(path, "is cut off in its header")


def test_a_safetensors_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.torch.save_file({"fc.weight": torch.zeros(2, 2)}, path, metadata=metadata)
        refused(path, "is a safetensors file of another library")


def with_header(path: Path, change: Any) -> None:
    """Save a checkpoint whose header, or whose whole text of it, went through `change`; its checksum is made to fit."""
    tensors = dict(made().tensors)
    save(path, made())
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["resnets"])
    header = change(header) or header
    if isinstance(header, dict):
        header.pop("checksum", None)
        header["checksum"] = checkpoints._checksum(header, tensors)
    text = header if isinstance(header, str) else json.dumps(header)
    safetensors.torch.save_file(tensors, path, metadata={"resnets": text})


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda header: header.update(format=4), "newer resnets (format 4, this one reads up to 3)"),
        (lambda header: header.update(format="1"), "not one of resnets"),
        (
            lambda header: header.update(task="detect"),
            "a checkpoint for the task 'detect'; needed is one for 'classification'",
        ),
        (lambda header: header.pop("class_names") and None, "not one of format 3: class_names"),
        (lambda header: header.update(more=1), "not one of format 3: more"),
        (lambda header: header.update(class_names=3), "not one of resnets"),
        (lambda header: header.update(class_names=["a"]), "1 class names"),
        (lambda header: header["fitted"].update(temperature="hot"), "not one of resnets"),
        (lambda header: header.update(spec=3), "not one of resnets"),
        (lambda header: header["spec"].update(num_block=3), "'num_block'. Did you mean 'num_blocks'?"),
        (lambda header: header["spec"].update(stem="imagnet"), "'imagnet'. Did you mean 'imagenet'?"),
        (lambda header: header.update(preprocess={"size": "big"}), ""),
        (lambda header: [1, 2], "not one of resnets"),
        (lambda header: "{" * 100_000, "not one of resnets"),
        (lambda header: "[" * 100_000, "not one of resnets"),
        (lambda header: '{"format": 1, "task": NaN}', "not one of resnets"),
    ],
)
def test_headers_of_other_programs(change: Any, shows: str, tmp_path: Path) -> None:
    with_header(tmp_path / "c.safetensors", change)
    refused(tmp_path / "c.safetensors", shows)


@pytest.mark.parametrize(
    "spec",
    [
        {"num_blocks": [10**9] * 4},  # would be built for hours
        {"out_channels": [10**15] * 4},  # would fill any memory
        {"groups": 3, "branch": "bottleneck", "mid_channels": [16] * 4},
    ],
)
def test_a_spec_that_asks_for_too_much_is_refused_at_once(spec: dict[str, Any], tmp_path: Path) -> None:
    stages = len(made().spec.num_blocks)
    spec = {key: value[:stages] if isinstance(value, list) else value for key, value in spec.items()}
    with_header(tmp_path / "c.safetensors", lambda header: header["spec"].update(spec))
    with pytest.raises(UserError, match=r"fit|cannot be built|divide"):
        network(read(tmp_path / "c.safetensors"))


@pytest.mark.parametrize(
    ("length", "shows"),
    [(2**63, "no safetensors file"), (100 * 2**20, "no safetensors file"), (2**20, "cut off in its header")],
)
def test_a_header_with_a_wrong_length(length: int, shows: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.safetensors").write_bytes(struct.pack("<Q", length) + content[8:])
    refused(tmp_path / "c.safetensors", shows)


@pytest.mark.parametrize("end", [10**9, -4, 2**70, "4", None])
def test_offsets_past_the_end(end: Any, tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, end]}
    header = json.dumps({"__metadata__": {"resnets": "{}"}, "a": entry}).encode()
    (tmp_path / "c.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refused(tmp_path / "c.safetensors")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_is_refused_or_means_the_same(data: st.DataObject, content: bytes, tmp_path: Path) -> None:
    """The checksum covers all that counts, so that no change of it goes unnoticed."""
    changed = bytearray(content)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the changes go into the header, which is a small part of the file.
        place = data.draw(st.integers(0, header - 1) | st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["set", "insert", "delete", "cut"]))
        if kind == "set" and place < len(changed):
            changed[place] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            changed[place:place] = data.draw(st.binary(min_size=1, max_size=16))
        elif kind == "delete":
            del changed[place : place + data.draw(st.integers(1, 64))]
        elif kind == "cut" and data.draw(st.integers(0, 9)) == 0:
            del changed[place:]
    path = tmp_path / "m.safetensors"
    path.write_bytes(changed)
    message, found = "", None
    try:
        found = read(path)
    except UserError as error:
        message = str(error)
    assert (found is not None and same(found, made())) or (str(path) in message and "\n" not in message)


# fitting and adapting


def test_tensors_that_do_not_fit_are_listed() -> None:
    tensors = dict(made().tensors)
    names = [name for name in tensors if name.endswith("weight")]
    del tensors[names[0]]
    tensors["stray"] = torch.zeros(1)
    tensors[names[1]] = torch.zeros(2, 2)
    tensors[names[2]] = tensors[names[2]].long()
    with pytest.raises(UserError) as caught:
        network(made(tensors=tensors))
    message = str(caught.value)
    for text in (f"missing: {names[0]}", "left over: stray", f"{names[1]} [2, 2] for", f"{names[2]} torch.int64"):
        assert text in message


@pytest.mark.parametrize(
    ("name", "more"), [("format_1", {}), ("format_2_classes", {"num_classes": 2}), ("format_2", {"num_classes": 2})]
)
def test_a_file_of_an_earlier_header_is_read(name: str, more: dict[str, Any]) -> None:
    """Each file in `data` was written once and is not changed. In the first of format 2, class names were `classes`."""
    found = read(Path(__file__).parent / "data" / f"{name}.safetensors")
    metrics = {"top1": 0.5, "split": "val", **more}
    assert (found.class_names, found.temperature, found.metrics) == (("猫", "dog"), 1.25, metrics)
    assert found.preprocess == Preprocess.plain(16, (0.5,) * 3, (0.25,) * 3)
    image = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    with torch.no_grad():
        logits = network(found)(image)[0]
    assert logits.tolist() == pytest.approx([-0.2506, 0.2226], abs=1e-4)
