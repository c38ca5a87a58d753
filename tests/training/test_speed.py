from __future__ import annotations

import pytest
import torch

from resnets.engine import machine
from resnets.errors import UserError
from resnets.training import speed


def test_what_was_asked_for_wins():
    assert speed.precision("fp32", "cpu").value == "fp32"
    assert speed.precision("bf16", "cpu").value == "bf16"
    assert speed.device("cpu").value == "cpu"


def test_bf16_is_chosen_where_the_cpu_has_it(monkeypatch):
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx512f", "avx512_bf16"})
    chosen = speed.precision("auto", "cpu")
    assert chosen.value == "bf16"
    assert "avx512_bf16" in chosen.reason
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2"})
    assert speed.precision("auto", "cpu").value == "fp32"


@pytest.mark.parametrize("name", ["cuda:7", "99", "gpu", "cpu:x"])
def test_an_absent_device_is_named(name):
    with pytest.raises(UserError, match=f"no device '{name}'"):
        speed.device(name)


def test_autocast_runs_in_the_precision():
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with speed.autocast(name, "cpu"):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
