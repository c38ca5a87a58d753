from __future__ import annotations

import pytest

from resnets.errors import UserError
from resnets.training.configuration import machine_settings


def test_a_requested_device_is_used():
    assert machine_settings.select_device("cpu") == ("cpu", "as requested")


@pytest.mark.parametrize("name", ["cuda:7", "99", "gpu", "cpu:x"])
def test_an_absent_device_is_named(name):
    with pytest.raises(UserError, match=f"`device={name}` is not available on this machine; available: cpu"):
        machine_settings.select_device(name)
