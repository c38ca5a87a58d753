"""Tests of the names of torch devices."""

import pytest
import torch

from resnets.errors import UserError
from resnets.inference.device import available_devices, resolve_device


def test_auto_is_a_gpu_if_torch_has_one() -> None:
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "99", "nonsense"])
def test_a_missing_device_is_an_error_that_lists_the_available_ones(name: str) -> None:
    with pytest.raises(UserError, match=f"`device={name}` is not available on this machine; available: cpu"):
        resolve_device(name)


def test_every_available_device_can_be_used() -> None:
    assert ("mps" in available_devices()) == torch.backends.mps.is_available()
    for name in available_devices():
        assert resolve_device(name) == name
