from __future__ import annotations

import torch

from resnets.inference import hardware
from resnets.training import precision


def test_a_requested_precision_is_used():
    assert precision.select_precision("fp32", "cpu").value == "fp32"
    assert precision.select_precision("bf16", "cpu").value == "bf16"


def test_bf16_is_chosen_where_the_cpu_has_it(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512f", "avx512_bf16"})
    chosen = precision.select_precision("auto", "cpu")
    assert chosen.value == "bf16"
    assert "avx512_bf16" in chosen.reason
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2"})
    assert precision.select_precision("auto", "cpu").value == "fp32"


def test_autocast_runs_in_the_precision():
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with precision.autocast(name, "cpu"):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
