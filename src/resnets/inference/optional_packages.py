"""Import of the optional packages that write, quantize and run ONNX files."""

import importlib
import importlib.util
from typing import Any

from resnets.errors import UserError


def has_onnxruntime() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("onnxruntime") is not None


def import_optional(name: str, extra: str) -> Any:
    """The module `name` of an optional package.

    Raises:
        UserError: it is not installed; the message has the command that installs the extra.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise UserError(f"This needs {name}, which is not installed: pip install 'resnets[{extra}]'") from None
