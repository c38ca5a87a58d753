from __future__ import annotations

import pytest
import torch

from resnets.inference import tf32

CONV, MATMUL = torch.backends.cudnn.conv, torch.backends.cuda.matmul


def _settings() -> tuple[str, str, bool, bool, str]:
    return (
        CONV.fp32_precision,
        MATMUL.fp32_precision,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
    )


@tf32.disabled()
def _raise() -> None:
    raise KeyError


@pytest.mark.parametrize("allow", [False, True])
def test_settings_of_the_caller_are_restored(allow):
    conv, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allow
    before = _settings()
    try:
        with tf32.disabled():
            with pytest.raises(KeyError):
                _raise()
            assert (CONV.fp32_precision, MATMUL.fp32_precision) == ("ieee", "ieee")
        assert _settings() == before
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = conv, matmul
