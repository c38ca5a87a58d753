"""No command connects to another host, and no library reports its use: every attempt of a process is written down."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.in_soak import IN_SOAK

from resnets import disable_telemetry
from resnets.inference.import_openvino import has_openvino

WATCH = Path(__file__).parent / "watch"
CI_VARIABLES = (
    "CI",
    "TF_BUILD",
    "JENKINS_URL",
    *disable_telemetry.VARIABLES,
)  # by which libraries keep silent in test runs

ALL_COMMANDS = """
data get shapes images --count 60
data check images
data split images --out split.csv
models
summary tiny
train images --model tiny --imgsz 32 --epochs 1 --name run --workers 0
lr-find images --model tiny --imgsz 32 --steps 20
evaluate runs/run images --split all
predict runs/run images/test --csv answers.csv
predict runs/run images/test --backend openvino --precision fp32
bench runs/run --backends openvino --precision fp32 --seconds 0 --batch 2
quantize runs/run images --count 6 --max-drop 100 --min-gain 0.000001
predict runs/run images/test --precision int8
weights list
weights inspect runs/run/weights/best.safetensors
weights convert runs/run/weights/best.safetensors --to keras --out out.keras
""".strip().splitlines()
# These import no library that the others do not.
ONLY_IN_SOAK = ("models", "summary", "lr-find", "bench", "weights list", "weights inspect")
COMMANDS = [line for line in ALL_COMMANDS if IN_SOAK or not line.startswith(ONLY_IN_SOAK)]

NEED_A_PACKAGE = {"openvino": "openvino", "quantize": "nncf", "int8": "nncf"}  # by a word of a command
NEED_A_DOWNLOAD = ["predict resnet50.torchvision_v1 images", "weights convert resnet18.torchvision --to keras"]

# Each command is announced in the record, so that a connection has the name of who made it.
SCRIPT = """
import json, os, sys
from resnets.cli import main, process_settings
process_settings.prepare()
for line in json.loads(sys.argv[1]):
    if line.startswith("RESNETS_OFFLINE="):
        os.environ["RESNETS_OFFLINE"] = line.partition("=")[2]
        continue
    with open(os.environ["RESNETS_WATCHED"], "a") as file:
        file.write(f"> {line}\\n")
    print(line, main.main(line.split()), file=sys.stderr)
"""


def watched(tmp_path: Path, program: str, *words: str, **variables: str) -> tuple[list[str], str]:
    """The record of a process without the variables of test machines, and what it wrote to stderr."""
    record = tmp_path / "record"
    record.touch()
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in (*CI_VARIABLES, "RESNETS_OFFLINE")}
    path = os.pathsep.join([str(WATCH), *([environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else [])])
    environment |= {"PYTHONPATH": path, "RESNETS_WATCHED": str(record), "HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment |= {"RESNETS_HOME": str(home / "resnets"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return record.read_text().splitlines(), done.stderr


def test_no_command_connects_to_another_host_and_nothing_is_left_in_the_home_folder(tmp_path: Path) -> None:
    """Offline, those that need a download are refused."""
    missing = {word for word, package in NEED_A_PACKAGE.items() if importlib.util.find_spec(package) is None}
    commands = [line for line in COMMANDS if not missing & set(line.split())]
    record, said = watched(tmp_path, SCRIPT, json.dumps([*commands, "RESNETS_OFFLINE=1", *NEED_A_DOWNLOAD]))
    assert record == [f"> {line}" for line in (*commands, *NEED_A_DOWNLOAD)], said
    assert [line for line in commands if f"{line} 0" not in said.splitlines()] == [], said
    assert [line[:7] for line in said.splitlines()].count("error: ") == len(NEED_A_DOWNLOAD)
    assert {path.name for path in (tmp_path / "home").iterdir()} <= {"resnets", ".cache", ".config", ".keras"}


def test_attempts_of_a_process_and_of_its_children_are_seen(tmp_path: Path) -> None:
    """A test of the tests: so no silence above is deafness."""
    program = (
        "import os, socket, subprocess, sys\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), timeout=1)\nexcept OSError: pass\n"
        "child = 'import socket\\ntry: socket.getaddrinfo(\"host.invalid\", 80)\\nexcept OSError: pass'\n"
        "if not os.fork():\n    exec(child.replace('host', 'forked'))\n    os._exit(0)\n"
        "os.wait()\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
    )
    record, _ = watched(tmp_path, program)
    assert record == [
        "socket.getaddrinfo 192.0.2.1",
        "socket.getaddrinfo forked.invalid",
        "socket.getaddrinfo host.invalid",
    ]


@pytest.mark.skipif(not has_openvino(), reason="needs openvino")
def test_a_library_call_does_not_change_the_environment(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom resnets.inference.import_openvino import import_openvino\nbefore = dict(os.environ)\n"
        "import_openvino()\nassert os.environ == before\nassert 'openvino_telemetry' not in sys.modules\n"
    )
    assert watched(tmp_path, program)[0] == []
