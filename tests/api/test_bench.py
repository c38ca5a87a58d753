"""`resnets.bench` against the JSON of `resnets bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import resnets
from resnets.cli import main
from resnets.errors import UserError


def test_bench_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "a.safetensors", "--backends", "torch", "--precision", "fp32", "-b", "2", "--seconds", "0"]
    assert main.main([*words, "--threads", "1", "--device", "cpu", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.bench(
        "a.safetensors", backends=["torch"], precision="fp32", batch=2, seconds=0, threads=1, device="cpu"
    )
    assert capsys.readouterr().out == ""
    assert set(result.to_dict()) == set(printed)
    assert result.settings == {key: printed[key] for key in result.settings}
    assert [(row.backend, row.batch) for row in result.rows] == [("reference", 2), ("torch", 2)]
    assert len(result.advice) == 1


def test_the_number_of_threads_and_the_random_state_stay(folder: Path) -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    resnets.bench("tiny", backends=["torch"], precision="fp32", batch=1, imgsz=32, seconds=0, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(UserError, match="`batch` must be 1 or more"):
        resnets.bench("tiny", batch=0)
