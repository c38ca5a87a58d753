"""What is told of a checkpoint of ours beside its network."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from resnets.data.image.preprocess import Preprocess
from resnets.hashing import sha256
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights import checkpoint as checkpoints
from resnets.weights import describe_checkpoint
from resnets.weights.checkpoint import Checkpoint


def save(path: Path, **facts: object) -> Path:
    torch.manual_seed(0)
    spec = zoo.get_spec("tiny", num_classes=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(path, Checkpoint(spec, Preprocess.imagenet(32), ("cat", "dog"), build(spec).state_dict(), **facts))
    return path


def test_a_run_is_described_with_data_epochs_weights_and_headline(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save(run / "weights" / "best.safetensors")
    (run / "recipe.toml").write_text(
        'name = "finetune"\n[model]\nweights = "net.pth"\n[data]\nlocation = "photos"\n[stop]\nepochs = 5\n'
    )
    assert "metrics:  none yet: the run has not ended" in describe_checkpoint.lines(run)
    (run / "split.csv").write_text("path,sha256,label,split,group\n" + "a,1,cat,train,\n" * 3 + "b,2,cat,val,\n")
    (run / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    metrics = {"top1": 0.5, "top1_interval": [0.25, 0.75], "count": 1, "split": "val", "protocol": "one view"}
    (run / "metrics.json").write_text(json.dumps(metrics))
    for path in (run, run / "weights" / "best.safetensors"):
        told = describe_checkpoint.lines(path)
        assert "names:    'cat', 'dog'" in told
        assert "data:     photos: 3 train, 1 val images" in told
        assert "weights:  trained from net.pth" in told
        assert "recipe:   finetune, 2 of 5 epochs done" in told
        assert "metrics:  top-1 50.00% (95 % interval 25.0% to 75.0%), 1 val images, one view" in told


def test_a_single_file_is_described_with_its_metrics_and_origin(tmp_path: Path) -> None:
    path = save(tmp_path / "net.safetensors", metrics={"top1": 0.9}, provenance={"converted_from": "net.pth"})
    assert {"metrics:  top-1 90.00%", "origin:   converted from net.pth"} < set(describe_checkpoint.lines(path))
    assert len(describe_checkpoint.lines(save(tmp_path / "bare.safetensors"))) == 2


def test_metrics_of_the_run_are_those_of_its_best_weights_only(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "weights").mkdir(parents=True)
    (run / "split.csv").write_text("path,sha256,label,split,group\n")
    (run / "recipe.toml").write_text('name = "finetune"\n')
    (run / "metrics.json").write_text('{"top1": 0.93}')
    own = {"split_sha256": sha256(run / "split.csv")}
    for name, origin, metrics in (
        ("best", own, "metrics:  top-1 93.00%"),
        ("last", own, "metrics:  top-1 50.00%"),
        ("best", {"split_sha256": "0" * 64}, "metrics:  top-1 50.00%"),
        ("best", {"published": "resnet18.a1_in1k"}, "metrics:  top-1 50.00%"),
    ):
        path = save(run / "weights" / f"{name}.safetensors", metrics={"top1": 0.5}, provenance=origin)
        assert metrics in describe_checkpoint.lines(path), (name, origin)


def test_nothing_in_a_checkpoint_or_recipe_steers_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2Jb\nc"
    alone = save(tmp_path / "a.safetensors", provenance={"converted_from": evil, "license": evil, "recipe": evil})
    run = tmp_path / "run"
    save(run / "weights" / "best.safetensors")
    (run / "recipe.toml").write_text(f"name = {json.dumps(evil)}\n[data]\nlocation = {json.dumps(evil)}\n")
    for told in (describe_checkpoint.lines(alone), describe_checkpoint.lines(run)):
        assert all(line.isprintable() for line in told)
        assert any("\\x1b[2Jb\\nc" in line for line in told)
