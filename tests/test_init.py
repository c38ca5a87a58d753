"""The public names of the package."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest

import resnets


def test_the_version_is_that_of_the_distribution() -> None:
    assert resnets.__version__ == version("resnets")


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'resnets' has no attribute 'craete'"):
        resnets.__getattr__("craete")


def test_the_types_of_the_results_are_public() -> None:
    results = {
        "BenchResult",
        "CheckReport",
        "ConversionResult",
        "Evaluation",
        "NetworkSummary",
        "RangeTest",
        "TrainResult",
    }
    assert results <= set(resnets.__all__)
    assert all(getattr(resnets, name).__name__ == name for name in resnets.__all__ if name[0].isupper())
    assert set(resnets._MODULES) <= set(resnets.__all__)


def test_train_is_the_function_beside_the_package_training() -> None:
    module = importlib.import_module("resnets.training.train")
    assert resnets.train is module.train


def test_the_package_runs_as_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "resnets", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"resnets {resnets.__version__}\n"
