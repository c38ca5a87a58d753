"""Wrong commands, each of which ends in one line that says what was received, and in the right exit code."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.cli import main

TRAIN = "--model tiny --imgsz 32 --epochs 1 --workers 0"


@dataclass(frozen=True)
class Wrong:
    """A command, what its message must contain, and how it ends."""

    words: str
    shows: str
    code: int = 2
    stdin: str = ""

    def __str__(self) -> str:
        return self.words


def image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def checkpoint(path: Path, classes: tuple[str, ...], task: str = "classification") -> None:
    from resnets.data.image.preprocess import Preprocess
    from resnets.models import zoo
    from resnets.weights.checkpoint import Checkpoint, save

    torch.manual_seed(0)
    net = zoo.build("tiny", num_classes=len(classes))
    preprocess = Preprocess.plain(32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    save(
        path,
        Checkpoint(
            spec=zoo.get_spec("tiny", num_classes=len(classes)),
            preprocess=preprocess,
            class_names=classes,
            task=task,
            metrics={},
            provenance={},
            tensors=net.state_dict(),
        ),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with right and wrong data, checkpoints and lists, in which the commands are given."""
    from resnets.tasks.embeddings import embed_files

    root = tmp_path_factory.mktemp("world")
    for label in ("ant", "bee"):
        for number in range(8):
            image(root / "insects" / label / f"{number}.png", number)
            image(root / "parted" / ("train" if number < 6 else "val") / label / f"{number}.png", number)
            image(root / "no_val" / "train" / label / f"{number}.png", number)
            image(root / "unknown_label" / ("train" if number < 6 else "val") / label / f"{number}.png", number)
        image(root / "one_class" / "ant" / f"{label}.png", 1)
        image(root / "text_inside" / label / "1.png", 2)
    image(root / "unknown_label" / "val" / "wasp" / "1.png", 3)
    (root / "empty").mkdir()
    (root / "two words").mkdir()
    (root / "models" / "ant-tiny").mkdir(parents=True)
    (root / "empty_classes" / "ant").mkdir(parents=True)
    (root / "empty_classes" / "bee").mkdir(parents=True)
    shutil.copytree(root / "insects", root / "text_named_jpg")
    (root / "text_named_jpg" / "ant" / "note.jpg").write_text("this is no image\n")
    shutil.copytree(root / "insects", root / "zero_bytes")
    (root / "zero_bytes" / "bee" / "nothing.png").write_bytes(b"")
    checkpoint(root / "insects.safetensors", ("ant", "bee"))
    checkpoint(root / "pets.safetensors", ("cat", "dog"))
    checkpoint(root / "boxes.safetensors", ("ant", "bee"), task="detect")
    embed_files.embed_files(root / "insects.safetensors", [str(root / "insects" / "ant")], out=root / "ants.npz")
    whole = (root / "insects.safetensors").read_bytes()
    (root / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (root / "text.safetensors").write_text("not a checkpoint\n")
    torch.save({"fc.weight": torch.zeros(2, 2)}, root / "pickle.pth")
    (root / "no_path.csv").write_text("file,label\na.png,ant\n")
    (root / "no_label.csv").write_text("path,weight\ninsects/ant/0.png,1\n")
    (root / "gone.csv").write_text("path,label\ninsects/ant/gone.png,ant\ninsects/bee/0.png,bee\n")
    (root / "broken.jsonl").write_text('{"path": "insects/ant/0.png", "label": "ant"}\n{"path": \n')
    (root / "a_file").write_text("")
    return root


WRONG = [
    # the command itself
    Wrong("trian insects", "'trian'. Did you mean 'train'?"),
    Wrong("weights inspct a.pth", "'inspct'. Did you mean 'inspect'?"),
    Wrong("train", "DATA"),
    Wrong("train insects epochs=3", "epochs=3"),
    Wrong("train insects --lr 0,01", "'--lr 0,01' is not valid"),
    Wrong("predict --model runs/ft insects", "has no option '--model'"),
    Wrong("train insects --epoch 1", "'--epoch'. Did you mean '--epochs'?"),
    Wrong("weights convert insects.safetensors --out x.pth", "needs --to; received"),
    Wrong("predict insects.safetensors insects --sort-into insects/ant/new", "among the images that are read"),
    Wrong("predict insects.safetensors insects/ant/0.png --sort-into .", "among the images that are read"),
    Wrong(
        "predict insects.safetensors insects --nms soft",
        "--nms has no effect on predictions of the task classification",
    ),
    Wrong("evaluate insects.safetensors insects --nms soft", "--nms has no effect on the task classification"),
    Wrong("train insects --epochs three", "'--epochs three'"),
    Wrong("train insects extra", "extra"),
    Wrong("train insects --set optim.lr=0,01", "Write 0.01, with a point."),
    Wrong("train --resume models/ant-tin", "Did you mean 'models/ant-tiny'?"),
    Wrong("predict models/ant-tin insects", "Did you mean 'models/ant-tiny'?"),
    Wrong("train insects --epochs 3 --set stop.steps=9", "--epochs 3 and --set stop.steps=9 exclude each other"),
    Wrong("data", "data --help"),
    # data
    Wrong(f"train nowhere {TRAIN}", "'nowhere'"),
    Wrong(f"train a_file {TRAIN}", "a_file"),
    Wrong(f"train empty {TRAIN}", "'empty'"),
    Wrong(f"train empty_classes {TRAIN}", "empty_classes"),
    Wrong(f"train one_class {TRAIN}", "'ant'"),
    Wrong(f"train unknown_label {TRAIN}", "'wasp'"),
    Wrong(f"train text_named_jpg {TRAIN}", "note.jpg"),
    Wrong(f"train zero_bytes {TRAIN}", "nothing.png"),
    Wrong(f"train no_path.csv {TRAIN}", "path"),
    Wrong(f"train no_label.csv {TRAIN}", "label"),
    Wrong(f"train gone.csv {TRAIN}", "gone.png"),
    Wrong(f"train broken.jsonl {TRAIN}", "broken.jsonl"),
    Wrong(f"train insects {TRAIN} --val-fraction 1.5", "1.5"),
    Wrong(f"train insects {TRAIN} --val-fraction -0.2", "-0.2"),
    Wrong("data get digts there", "'digts'. Did you mean 'digits'?"),
    Wrong("data get digits insects", "insects"),
    Wrong("data check nowhere", "'nowhere'"),
    Wrong("data split insects --folds 3", "fold"),
    # networks and settings
    Wrong("train insects --model resnet5O", "'resnet5O'. Did you mean 'resnet50'?"),
    Wrong("summary resnet51", "'resnet51'"),
    Wrong("summary tiny --imgsz 0", "0"),
    Wrong("summary tiny --draw tiny.bmp", "tiny.bmp"),
    Wrong("models efficientnet", "'efficientnet'"),
    Wrong(f"train insects {TRAIN} --lr -0.1", "-0.1"),
    Wrong(f"train insects {TRAIN} --batch 0", "0"),
    Wrong("train insects --model tiny --epochs 0", "0"),
    Wrong("train insects --model tiny --imgsz 0", "0"),
    Wrong(f"train insects {TRAIN} --recipe scrach", "'scrach'. Did you mean 'scratch'?"),
    Wrong(f"train insects {TRAIN} --set optim.rate=0.2", "'optim.rate'"),
    Wrong(f"train insects {TRAIN} --set optim.lr=high", "'high'"),
    Wrong(f"train insects {TRAIN} --set optim.lr", "'optim.lr'"),
    Wrong(f"train insects {TRAIN} --device gpu9", "--device gpu9 is not available"),
    Wrong("train --resume runs/none", "'runs/none'"),
    Wrong(f"train insects {TRAIN} --resume runs/none", "'runs/none'"),
    Wrong(f"train insects {TRAIN} --epochs +3", "--resume"),
    Wrong(f"train insects {TRAIN} --save-every 5min", "'5min'"),
    Wrong(f"train insects {TRAIN} --out a_file/run", "a_file"),
    # checkpoints
    Wrong(f"train insects {TRAIN} --weights insects", "'insects'"),
    Wrong(f"train insects {TRAIN} --weights nowhere.safetensors", "nowhere.safetensors"),
    Wrong(f"train insects {TRAIN} --weights pickle.pth", "pickle.pth"),
    Wrong("train insects --model resnet18 --weights insects.safetensors", "resnet18"),
    Wrong("evaluate nowhere.safetensors insects", "'nowhere.safetensors'"),
    Wrong("evaluate insects insects", "'insects'"),
    Wrong("evaluate cut.safetensors insects", "cut.safetensors"),
    Wrong("evaluate text.safetensors insects", "text.safetensors"),
    Wrong("evaluate boxes.safetensors insects", "detect"),
    Wrong("evaluate pets.safetensors insects", "'ant'"),
    Wrong("evaluate insects.safetensors pets.safetensors insects", "pets.safetensors"),
    Wrong("evaluate insects.safetensors insects --compare", "--compare"),
    Wrong("evaluate insects.safetensors insects --crops 7", "7"),
    Wrong("evaluate insects.safetensors nowhere --crops 5", "--crops is 1, 6 or 10; received 5"),
    Wrong("evaluate insects.safetensors insects --scales abc", "'abc'"),
    Wrong("evaluate insects.safetensors no_val --split val", "val"),
    Wrong("evaluate insects.safetensors", "DATA"),
    # prediction
    Wrong("predict insects.safetensors nowhere.png", "nowhere.png", code=1),
    Wrong("predict insects.safetensors 'nowhere/*.png'", "'nowhere/*.png'"),
    Wrong("predict insects.safetensors empty", "'empty'"),
    Wrong("predict insects.safetensors -", "stdin"),
    Wrong("predict insects.safetensors insects --resume", "--resume has no effect without --parquet"),
    Wrong("predict insects.safetensors insects --parquet parts --shard 0/4", "--shard is i/n"),
    Wrong("predict insects.safetensors insects --parquet a_file", "a_file"),
    Wrong("predict insects.safetensors insects --parquet models", "other files"),
    Wrong("predict insects.safetensors insects --top-k 0", "0"),
    Wrong("predict insects.safetensors insects --top-k 3", "3"),
    Wrong("predict insects.safetensors", "PATH"),
    Wrong("predict insects.safetensors insects --csv a_file/out.csv", "a_file"),
    Wrong("predict insects.safetensors insects --sort-into a_file", "a_file"),
    Wrong("predict pickle.pth insects", "pickle.pth"),
    # exports
    Wrong("export insects.safetensors --format onx", "huggingface, timm; received 'onx'"),
    Wrong("export insects.safetensors --preprocess all", "--preprocess is one of"),
    Wrong("export insects.safetensors --out a_file", "ends in .onnx; received --out a_file"),
    Wrong("export insects.safetensors --format openvino --out insects", "'insects' exists and was not exported"),
    Wrong("export insects.safetensors --layout triton", "--layout is repository or left out; received 'triton'"),
    Wrong("export insect.safetensors", "Did you mean 'insects.safetensors'?"),
    Wrong("export boxes.safetensors", "detect"),
    # embeddings
    Wrong("embed insects.safetensors insects", "needs --out"),
    Wrong("embed insects insects --out new.npz", "'insects'"),
    Wrong(
        "embed insect.safetensors insects --out new.npz", "'insect.safetensors'. Did you mean 'insects.safetensors'?"
    ),
    Wrong("embed pickle.pth insects --out new.npz", "pickle.pth"),
    Wrong("embed insects.safetensors nowhere.png --out new.npz", "nowhere.png", code=1),
    Wrong("embed insects.safetensors a_file --out new.npz", "a_file", code=1),
    Wrong("embed insects.safetensors 'nowhere/*.png' --out new.npz", "'nowhere/*.png'"),
    Wrong("embed insects.safetensors empty --out new.npz", "'empty'"),
    Wrong(
        "embed insects.safetensors insects --out new.csv",
        "--out is a file that ends in .npz or .parquet; received 'new.csv'",
    ),
    Wrong("embed insects.safetensors insects --out a_file/new.npz", "a_file"),
    Wrong("embed insects.safetensors insects --out new.npz --layer stag2", "'stag2'. Did you mean 'stage2'?"),
    Wrong("embed insects.safetensors insects --out new.npz --pca 0", "--pca must be 1 or more; received 0"),
    Wrong(
        "embed insects.safetensors insects --out new.npz --pca 17", "at most 16 principal components; received --pca 17"
    ),
    Wrong("embed insects.safetensors insects --out new.npz --l3", "'--l3'. Did you mean '--l2'?"),
    Wrong("search ants.npz nowhere.png", "'nowhere.png'"),
    Wrong("search ants.npz a_file", "'a_file'"),
    Wrong("search ants.npz insects", "'insects'"),
    Wrong(
        "search ant.npz insects/bee/0.png",
        "'ant.npz' cannot be read: No such file or directory. Did you mean 'ants.npz'?",
    ),
    Wrong("search insects insects/bee/0.png", "'insects' cannot be read: Is a directory. `resnets embed"),
    Wrong("search insects.safetensors insects/bee/0.png", "'insects.safetensors' is not an index"),
    Wrong("search insects/bee/0.png ants.npz", "'insects/bee/0.png' is not an index"),
    Wrong("search ants.npz", "QUERY"),
    Wrong("search ants.npz insects/bee/0.png --checkpoint pets.safetensors", "'pets.safetensors' are not those"),
    Wrong("search ants.npz insects/bee/0.png --checkpoint nowhere.safetensors", "nowhere.safetensors"),
    Wrong("search ants.npz insects/bee/0.png --top-k 0", "--top-k must be 1 or more; received 0"),
    Wrong(
        "search ants.npz insects/bee/0.png --sheet near.pdf",
        "--sheet is a file that ends in .png, .jpg, .jpeg; received 'near.pdf'",
    ),
    Wrong("data check insects --vectors insects.safetensors", "'insects.safetensors' is not an index"),
]


def check(row: Wrong, code: int, out: str, error: str) -> None:
    # Notes on choices (the device, the threads) may come before. A list, of all bad images, may be part of the message.
    lines = error.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, error
    message = lines[starts[0] :]
    assert all(line.startswith("  ") for line in message[1:]), error
    assert "Traceback" not in error
    assert "bug in resnets" not in error
    assert row.shows in "\n".join(message)
    assert code == row.code


@pytest.mark.parametrize("row", WRONG, ids=str)
def test_a_wrong_command_ends_in_one_helpful_line(
    row: Wrong, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setenv("RESNETS_HOME", str(world / "home"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(row.stdin))
    code = main.main(shlex.split(row.words))
    shown = capsys.readouterr()
    check(row, code, shown.out, shown.err)


def test_a_wrong_command_leaves_nothing_behind(world: Path) -> None:
    """Runs after the rows above when they run in one process; alone it says only that the world is as it was made."""
    assert not (world / "runs").exists() or not any((world / "runs").rglob("*.safetensors"))
    assert not list(world.glob("new.*"))


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 45
    assert len({row.words for row in WRONG}) == len(WRONG)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """A limit on the size of files; a write past it fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_while_training(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    row = Wrong(f"train parted {TRAIN} --out {tmp_path / 'run'}", "Cannot write", code=1)
    with full_disk():
        code = main.main(shlex.split(row.words))
    shown = capsys.readouterr()
    check(row, code, shown.out, shown.err)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    row = Wrong(f"train insects {TRAIN} --device cuda", "--device cuda is not available")
    code = main.main(shlex.split(row.words))
    shown = capsys.readouterr()
    check(row, code, shown.out, shown.err)


def test_the_same_from_a_real_shell(world: Path) -> None:
    row = Wrong("trian", "Did you mean 'train'?")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "resnets", row.words]
    done = subprocess.run(command, cwd=world, env=environment, capture_output=True, text=True, timeout=120)
    check(row, done.returncode, done.stdout, done.stderr)
