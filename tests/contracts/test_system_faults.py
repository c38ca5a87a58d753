"""Faults of the system (a full disk, a closed stdout, no home, little shared memory), each with every verb that it can affect.

Expected each time: one line that says what to do and no traceback, exit code 1 or 2, an existing file at the path of the
output unchanged, and no partly written file beside it.
"""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import forked_processes
from tests.contracts import forked_verbs
from tests.in_soak import only_in_soak

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights import checkpoint as checkpoints

CLASSES = ("ant", "größe")
TRAIN = "train {data} --model tiny --weights none --imgsz 32 --batch 4 --epochs 1 --device cpu"

# Each verb that writes a file or a folder, with its path as {out}.
FILES = {
    "predict csv": "predict {net} {data} --csv {out}.csv",
    "predict jsonl": "predict {net} {data} --jsonl {out}.jsonl",
    "embed": "embed {net} {data} --out {out}.npz",
    "embed parquet": "embed {net} {data} --out {out}.parquet",
    "search": "search {index} {data}/ant/0.png --sheet {out}.png",
    "lr-find": "lr-find {data} --model tiny --imgsz 32 --batch 4 --steps 20 --device cpu --out {out}.png",
    "check": "data check {data} --html {out}.html",
    "split": "data split {data} --out {out}.csv",
    "summary svg": "summary tiny --draw {out}.svg",
    "convert": "weights convert {net} --to resnets --out {out}.safetensors",
    "convert pth": "weights convert {theirs} --to torchvision --out {out}.pth",
}
FOLDERS = {
    "predict sort-into": "predict {net} {data} --sort-into {out}",
    "predict parquet": "predict {net} {data} --parquet {out}",
    "evaluate": "evaluate {net} {data} --split all --out {out}",
    "get": "data get shapes {out} --count 30",
    "shard": "data shard {data} {out}",
    "export": "export {net} --format torch --out {out}.pt2",  # a file, which replaces nothing but exported files
    "quantize": "quantize {net} {data} --validation {others} --format onnx --out {out}.onnx",  # likewise
    "convert timm": "weights convert {theirs} --to timm --out {out}",
    "convert huggingface": "weights convert {theirs} --to huggingface --out {out}",
    "train": TRAIN + " --out {out}",
    "study": "study shattering --out {out}",
}
# Each verb that prints a result.
PRINTED = {
    "models": "models",
    "summary": "summary tiny",
    "predict": "predict {net} {data}",
    "predict csv": "predict {net} {data} --csv -",
    "embed": "embed {net} {data} --out e.npz --json",
    "search": "search {index} {data}/ant/0.png",
    "evaluate": "evaluate {net} {data} --split all",
    "check": "data check {data}",
    "split": "data split {data} --out s.csv",
    "get": "data get shapes new --count 30",
    "inspect": "weights inspect {net}",
    "list": "weights list",
    "studies": "study list",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Data and weights that all cases read."""
    folder = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(0)
    for index, label in enumerate(CLASSES):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(6):
            pixels = random.normal(90 + 60 * index, 50, (34, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "data" / label / f"{number}.png")
    paths = {"data": str(folder / "data"), "others": str(folder / "others")}
    shutil.copytree(paths["data"], paths["others"])
    for path in (folder / "others").glob("*/*.png"):  # other contents
        with Image.open(path) as image:
            image.rotate(180).save(path)
    for key, name in (("net", "tiny"), ("theirs", "resnet18")):
        spec = zoo.get_spec(name, num_classes=len(CLASSES))
        paths[key] = str(folder / f"{key}.safetensors")
        tensors = build(spec).state_dict()
        checkpoints.save(paths[key], checkpoints.Checkpoint(spec, Preprocess.imagenet(32), CLASSES, tensors))
    paths["index"] = str(folder / "index.npz")
    resnets.embed(paths["net"], paths["data"], out=paths["index"])
    return paths


class Verbs:
    """The process from which each case is forked."""

    def __init__(self, log: Path) -> None:
        self.cases, theirs = multiprocessing.Pipe()
        settings = {"OMP_NUM_THREADS": "1", "RESNETS_OFFLINE": "1"}
        self.process = forked_processes.start(log, forked_verbs.serve, theirs, **settings)
        theirs.close()

    def __call__(self, words: str, made: dict[str, str], folder: Path | str, **fault: Any) -> tuple[int, str, str]:
        case: dict[str, Any] = {
            "stdout": "",
            "stderr": "",
            "env": {},
            "bytes": 0,
            "shm": 0,
            "passwd": True,
            "kill": False,
            "asks": "",
        }
        case |= fault | {"words": [word.format(**made) for word in words.split()], "folder": str(folder)}
        self.cases.send(case)
        answer = self.cases.recv()
        if answer["code"] == forked_verbs.NOT_PERMITTED:
            pytest.skip("this machine does not permit that fault")
        assert "a process is left over" not in answer["out"] + answer["err"]
        return answer["code"], answer["out"], answer["err"].encode("latin-1").decode()


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    verbs = Verbs(tmp_path_factory.mktemp("verbs") / "log")
    yield verbs
    verbs.cases.send(None)
    verbs.process.join(60)
    assert verbs.process.exitcode == 0


def one_line(err: str) -> str:
    """The error that ends what was printed."""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert err.splitlines()[-1] == errors[0], err
    for word in ("Traceback", "bug in resnets", " raised "):
        assert word not in err
    return errors[0]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("verb", [*FILES, *FOLDERS])
def test_a_path_that_cannot_be_written_is_refused_before_the_work(
    verb: str, verbs: Verbs, made: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, out, err = verbs((FILES | FOLDERS)[verb], made | {"out": "file/x"}, tmp_path)
    assert code == 2
    assert "file" in one_line(err)
    assert err.count("\n") == 1  # nothing was started
    assert out == ""
    assert tree(tmp_path) == {"file": b""}


@pytest.mark.parametrize("verb", FILES)
def test_a_folder_at_the_path_of_a_file_is_kept(verb: str, verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    words = FILES[verb].replace("{out}", "out")
    path = words.split()[-1]
    (tmp_path / path).mkdir()
    code, _, err = verbs(words, made, tmp_path)
    assert code == 2
    assert f"'{path}'" in one_line(err)
    assert tree(tmp_path) == {path: b""}


@pytest.mark.parametrize("verb", FILES)
def test_a_full_disk_keeps_the_existing_file(verb: str, verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    words = FILES[verb].replace("{out}", "out")
    path = words.split()[-1]
    (tmp_path / path).write_text("old")
    code, _, err = verbs(words, made, tmp_path, bytes=10)
    assert code == 1
    assert f"Cannot write '{path}'" in one_line(err)
    assert tree(tmp_path) == {path: b"old"}


# The file of `export` is written in the same way.
@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=only_in_soak("8 s")) if verb == "quantize" else verb for verb in FOLDERS]
)
def test_a_full_disk_leaves_no_partly_written_file(
    verb: str, verbs: Verbs, made: dict[str, str], tmp_path: Path
) -> None:
    code, _, err = verbs(FOLDERS[verb], made | {"out": "out"}, tmp_path, bytes=100)
    assert code == 1
    assert "out" in one_line(err) or f"'{tempfile.gettempdir()}" in one_line(err)
    assert not [path for path in tree(tmp_path) if ".writing-" in path]


ALSO_PRINTED = ("search", "split", "get", "inspect", "list", "studies")  # lines as those of the others


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=only_in_soak("1.5 s")) if verb in ALSO_PRINTED else verb for verb in PRINTED]
)
def test_stdout(verb: str, verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    done = {}
    for fault in ("utf-8", "ascii", "closed", "none", "full"):
        (tmp_path / fault).mkdir()
        code, out, err = verbs(PRINTED[verb], made, tmp_path / fault, stdout=fault)
        done[fault] = tree(tmp_path / fault)
        if fault == "full":
            assert code == 1
            assert one_line(err).startswith("error: No space left on device")
            continue
        assert (code, "error" in err) == (0, False), err
        assert ("stdout is closed" in err) == (fault in ("closed", "none"))
        assert bool(out) == (fault in ("utf-8", "ascii"))
        assert out.isascii() or fault == "utf-8"
        assert done[fault].keys() == done["utf-8"].keys()


@pytest.mark.parametrize("fault", ["closed", "none", "full", "ascii"])
def test_stderr(fault: str, verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    for words, code in (
        ("predict {net} {data}", 0),
        ("predict {net} gone-größe.png", 1),
        ("predict {net} {data} --csv {net}/x", 2),
        ("predict nonsense {data}", 2),
    ):
        found, out, err = verbs(words, made, tmp_path, stderr=fault)
        assert found == code, err
        assert bool(out) == (code == 0 or "gone" in words)
        assert bool(err) == (fault == "ascii")
        assert err.isascii()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        ("utf-8", ""),
        ("closed", ""),
        ("none", ""),
        ("full", ""),
        ("utf-8", "closed"),
        ("utf-8", "none"),
        ("utf-8", "full"),
    ],
)
def test_a_server(stdout: str, stderr: str, verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    """It answers wherever its address and its log go, but ends where the address cannot be written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = f"serve {{net}} --port {address.rpartition(':')[2]} --device cpu --backend torch"
    asks = "" if stdout == "full" else f"{address}/v1/model"
    code, out, err = verbs(words, made, tmp_path, stdout=stdout, stderr=stderr, asks=asks)
    if stdout == "full":
        assert code == 1
        assert one_line(err).startswith("error: No space left on device")
        return
    assert (code, "error" in err) == (0, False), err
    assert out == (f"{address}\n" if stdout == "utf-8" else "")
    assert ('"GET /v1/model HTTP/1.1" 200' in err) == (stderr == "")
    assert tree(tmp_path) == {}


STRAY = [{"RANK": "1"}, {"WORLD_SIZE": "4"}, {"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "3", "WORLD_SIZE": "2"}]


@pytest.mark.parametrize("stray", STRAY, ids=str)
def test_remaining_variables_of_a_launcher(
    stray: dict[str, str], verbs: Verbs, made: dict[str, str], tmp_path: Path
) -> None:
    for words in ("predict {net} {data}", "data check {data}", "weights inspect {net}"):
        code, out, err = verbs(words, made, tmp_path, env=stray)
        assert (code, bool(out), "error" in err) == (0, True, False), err
    code, _, err = verbs(TRAIN, made, tmp_path, env=stray)
    assert code == 2
    assert "`unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE`" in one_line(err)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("fault", ["a home that is not a folder", "no home"])
def test_without_a_home(fault: str, verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    """As of a service, and of a user of a container who is in no /etc/passwd."""
    unset = {"RESNETS_HOME": None, "XDG_CACHE_HOME": None}
    if fault == "no home":
        how: dict[str, Any] = {"env": unset | {"HOME": None}, "passwd": False}
    else:
        how = {"env": unset | {"HOME": "/dev/null"}}
    plan = TRAIN.replace("--model tiny --weights none", "--model resnet18") + " --dry-run"
    for words in ("models", "weights list", "predict {net} {data}", plan):
        code, _, err = verbs(words, made, tmp_path, **how)
        assert code == 0, err
    code, _, err = verbs("train digits --model tiny --dry-run", made, tmp_path, **how)
    assert code in (1, 2)
    assert "RESNETS_HOME" in one_line(err)


def test_a_killed_worker_ends_a_training(verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    code, _, err = verbs(f"{TRAIN} --epochs 9999 --cache off --workers 1", made, tmp_path, kill=True)
    assert code == 1
    assert "A worker process was killed" in one_line(err)
    assert not [path for path in tree(tmp_path) if ".writing-" in path]


def test_a_training_needs_little_shared_memory(verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    """Its images go through pipes then; only the locks of the queues need some."""
    code, _, err = verbs(f"{TRAIN} --cache off --workers 1", made, tmp_path, shm=2**16)
    assert code == 0, err


def test_training_without_shared_memory(verbs: Verbs, made: dict[str, str], tmp_path: Path) -> None:
    code, _, err = verbs(f"{TRAIN} --cache off --workers 1", made, tmp_path, shm=4096)
    assert code == 1
    assert "/dev/shm" in one_line(err)
    assert "--workers 0" in one_line(err)
