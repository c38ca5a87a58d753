"""Switch off the telemetry of libraries.

OpenVINO and nncf report through the package `openvino_telemetry` unless a file in the user's home or the variable `CI` says
otherwise, also on import; without that package they do not report. huggingface_hub sends more than the request for a file
unless HF_HUB_DISABLE_TELEMETRY is set when it is imported. MLflow and Ray report their use and Weights & Biases its errors,
unless a variable says otherwise. Nothing is written into the user's home.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

REPORTERS = ("openvino_telemetry",)  # packages that only report
VARIABLES = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NNCF_CI": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}

_importing = threading.RLock()


def disable_telemetry() -> None:
    """Switch telemetry off in the whole process; for the command line, which owns its process."""
    os.environ.update(VARIABLES)
    for name in REPORTERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # importing it raises ImportError


@contextlib.contextmanager
def telemetry_disabled() -> Iterator[None]:
    """A context for imports without telemetry; the process is left unchanged.

    A library that the program has imported before keeps its setting.
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
