"""Libraries that report their use to a service of their makers are imported without these reports.

OpenVINO and nncf report through the package `openvino_telemetry` unless a file in the user's home or the variable `CI` says
otherwise, the import itself included; without that package they do without. huggingface_hub asks its server for more than the
file that is wanted unless HF_HUB_DISABLE_TELEMETRY is set when it is imported. Nothing is written into the user's home.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

REPORTERS = ("openvino_telemetry",)  # packages that only report
VARIABLES = {"HF_HUB_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}

_importing = threading.RLock()


def disable() -> None:
    """Switch reports off in the whole process; for the command line, whose process is its own."""
    os.environ.update(VARIABLES)
    for name in REPORTERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # importing it raises ImportError


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Import within the block what would report; the process is left as it was.

    What the program itself has imported before keeps what it decided then.
    """
    with _importing:
        hidden = [name for name in REPORTERS if name not in sys.modules]
        before = {name: os.environ.get(name) for name in VARIABLES}
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
        os.environ.update(VARIABLES)
        try:
            yield
        finally:
            for name in hidden:
                sys.modules.pop(name, None)
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
