"""Import of the optional package `openvino`."""

import functools
import importlib
import importlib.util
from typing import Any

from resnets.disable_telemetry import telemetry_disabled


def has_openvino() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


@functools.cache
def import_openvino() -> Any:
    """The module `openvino`, with its telemetry off for the import and for conversions."""
    with telemetry_disabled():
        importlib.import_module("openvino.tools.ovc")  # which converts
        return importlib.import_module("openvino")
