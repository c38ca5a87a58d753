"""Whether the optional packages of the server are installed; none is imported."""

import importlib.util

from resnets.errors import UserError

PACKAGES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")


def check_installed() -> None:
    """Raise UserError for a package that is missing, with the command that installs it."""
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"The server needs {name}, which is not installed: pip install 'resnets[serve]'")
