from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data import sources
from resnets.engine import machine
from resnets.errors import JobError, UserError
from resnets.training import build, speed
from resnets.training.recipe import Recipe, override


@pytest.fixture
def world_of_images(tmp_path: Path) -> Path:
    for part in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "1.png")
    return tmp_path


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


def test_compiling_without_a_compiler_is_one_line_before_the_first_step(world_of_images: Path) -> None:
    inductor = pytest.importorskip("torch._inductor.config")
    recipe = Recipe()
    for setting in ("model.name=tiny", "data.imgsz=32", "speed.compile=true", f"data.location={world_of_images}"):
        recipe = override(recipe, setting)
    source = sources.read(str(world_of_images))
    with (
        inductor.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(UserError, match=r"`speed.compile=true` needs a C\+\+ compiler.*leave the setting out") as found,
    ):
        build.parts(recipe, source, None, {})
    assert "\n" not in str(found.value)


def test_a_compiler_that_fails_is_one_line() -> None:
    def backend(*_: object) -> None:
        raise RuntimeError("C++ compile error\n  pages of it")

    with pytest.raises(JobError, match=r"C\+\+ compile error.*Leave out `speed.compile=true`") as found:  # noqa: SIM117
        with speed.compiling(True):
            torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))
    assert "\n" not in str(found.value)
    with pytest.raises(ZeroDivisionError), speed.compiling(True):
        raise ZeroDivisionError
