from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets import open_dataset
from resnets.errors import JobError, UserError
from resnets.recipes.override import override
from resnets.recipes.recipe import Recipe
from resnets.tasks.classification.task import Classification, ClassificationConfig
from resnets.training import torch_compile
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import resume_plan


@pytest.fixture
def black_images(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "1.png")
    return tmp_path


def test_compiling_without_a_compiler_is_one_line_before_the_first_step(black_images: Path) -> None:
    inductor = pytest.importorskip("torch._inductor.config")
    recipe = Recipe()
    for setting in ("model.name=tiny", "data.imgsz=32", "speed.compile=true", f"data.location={black_images}"):
        recipe = override(recipe, setting)
    recipe = replace(recipe, task=ClassificationConfig())
    prepared = resume_plan(recipe, Classification, open_dataset.read(str(black_images)), None)
    with (
        inductor.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(UserError, match=r"`speed.compile=true` needs a C\+\+ compiler.*leave the setting out") as found,
    ):
        build_context(prepared)
    assert "\n" not in str(found.value)


def test_a_compiler_that_fails_is_one_line() -> None:
    def backend(*_: object) -> None:
        raise RuntimeError("C++ compile error\n  pages of it")

    with pytest.raises(JobError, match=r"C\+\+ compile error.*Leave out `speed.compile=true`") as found:  # noqa: SIM117
        with torch_compile.explain_compile_errors(True):
            torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))
    assert "\n" not in str(found.value)
    with pytest.raises(ZeroDivisionError), torch_compile.explain_compile_errors(True):
        raise ZeroDivisionError
