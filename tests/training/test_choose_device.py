from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets import open_dataset
from resnets.errors import JobError, UserError
from resnets.inference import hardware
from resnets.recipes.recipe import Recipe, override
from resnets.training import choose_device, setup


@pytest.fixture
def world_of_images(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "1.png")
    return tmp_path


def test_requested_values_are_used():
    assert choose_device.select_precision("fp32", "cpu").value == "fp32"
    assert choose_device.select_precision("bf16", "cpu").value == "bf16"
    assert choose_device.select_device("cpu").value == "cpu"


def test_bf16_is_chosen_where_the_cpu_has_it(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512f", "avx512_bf16"})
    chosen = choose_device.select_precision("auto", "cpu")
    assert chosen.value == "bf16"
    assert "avx512_bf16" in chosen.reason
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2"})
    assert choose_device.select_precision("auto", "cpu").value == "fp32"


@pytest.mark.parametrize("name", ["cuda:7", "99", "gpu", "cpu:x"])
def test_an_absent_device_is_named(name):
    with pytest.raises(UserError, match=f"`device={name}` is not available on this machine; available: cpu"):
        choose_device.select_device(name)


def test_autocast_runs_in_the_precision():
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with choose_device.autocast(name, "cpu"):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_compiling_without_a_compiler_is_one_line_before_the_first_step(world_of_images: Path) -> None:
    inductor = pytest.importorskip("torch._inductor.config")
    recipe = Recipe()
    for setting in ("model.name=tiny", "data.imgsz=32", "speed.compile=true", f"data.location={world_of_images}"):
        recipe = override(recipe, setting)
    dataset = open_dataset.read(str(world_of_images))
    with (
        inductor.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(UserError, match=r"`speed.compile=true` needs a C\+\+ compiler.*leave the setting out") as found,
    ):
        setup.build_context(recipe, dataset, None, {})
    assert "\n" not in str(found.value)


def test_a_compiler_that_fails_is_one_line() -> None:
    def backend(*_: object) -> None:
        raise RuntimeError("C++ compile error\n  pages of it")

    with pytest.raises(JobError, match=r"C\+\+ compile error.*Leave out `speed.compile=true`") as found:  # noqa: SIM117
        with choose_device.explain_compile_errors(True):
            torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))
    assert "\n" not in str(found.value)
    with pytest.raises(ZeroDivisionError), choose_device.explain_compile_errors(True):
        raise ZeroDivisionError
