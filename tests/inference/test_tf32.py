"""The settings of PyTorch can be read and changed without a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from resnets.inference import tf32

CONV, RNN = torch.backends.cudnn.conv, torch.backends.cudnn.rnn


@pytest.fixture(params=["default", "older", "newer", "contradiction"], autouse=True)
def caller(request: pytest.FixtureRequest) -> Iterator[str]:
    """How the caller has set the precision."""
    conv, rnn, allowed = CONV.fp32_precision, RNN.fp32_precision, torch.backends.cudnn.allow_tf32
    if request.param == "older":
        torch.backends.cudnn.allow_tf32 = False
    elif request.param == "newer":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.conv.fp32_precision = torch.backends.cudnn.rnn.fp32_precision = "ieee"
    elif request.param == "contradiction":
        torch.backends.cudnn.rnn.fp32_precision = "ieee"
    yield request.param
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision = conv, rnn


def _settings() -> list[object]:
    settings: list[object] = [CONV.fp32_precision, RNN.fp32_precision, torch.get_float32_matmul_precision()]
    try:
        settings.append(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        settings.append("contradiction")
    return settings


def test_the_settings_of_the_caller_are_restored_after_the_outermost_block():
    before = _settings()
    with tf32.disabled("cuda"):
        with pytest.raises(KeyError), tf32.disabled("cuda:1"):
            raise KeyError
        assert CONV.fp32_precision == "ieee"
    assert _settings() == before


def test_pytorch_can_read_its_older_setting_within_a_block(caller):
    if caller == "contradiction":
        return
    with tf32.disabled("cuda"):
        assert not torch.backends.cudnn.allow_tf32
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pass


def test_blocks_of_several_threads_overlap():
    before, inside, leave = _settings(), threading.Event(), threading.Event()

    def other() -> None:
        with tf32.disabled("cuda"):
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=other)
    with tf32.disabled("cuda"):
        thread.start()
        assert inside.wait(60)
    assert CONV.fp32_precision == "ieee"
    leave.set()
    thread.join()
    assert _settings() == before


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "mps"])
def test_other_devices_change_nothing(device):
    before = _settings()
    with tf32.disabled(device):
        assert _settings() == before
