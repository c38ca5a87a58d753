"""Imports go one way: each room imports only from the rooms to its left. The sources are read, not run."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import resnets

SOURCE = Path(resnets.__file__).parent
GROUND_FLOOR = {"errors", "atomic", "limits", "progress", "processes", "telemetry"}
# `study`, `deploy` and `keras` stand on one step: they do not know each other.
STEPS = [
    {"models"},
    {"data"},
    {"weights"},
    {"engine"},
    {"tasks"},
    {"report"},
    {"training"},
    {"recipes"},
    {"study", "deploy", "keras"},
    {"cli"},
]
STEP = {room: step for step, rooms in enumerate(STEPS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module named by an import statement, those inside functions too; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            # `from resnets import data` names a room in the second half.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def may_import(room: str, other: str) -> bool:
    if room == other or other == "__version__":
        return True
    if room in GROUND_FLOOR or other in GROUND_FLOOR:
        return other in GROUND_FLOOR
    # A name that is no room is one of the public names, which stand above everything.
    return other in STEP and STEP[other] < STEP[room]


def wrong_imports(path: Path, text: str) -> list[str]:
    """The imports of this file that go against the order, each as a sentence."""
    room = room_of(path)
    package = ".".join(["resnets", *path.relative_to(SOURCE).parent.parts])
    wrong = []
    for module in imported_modules(ast.parse(text), package):
        parts = module.split(".")
        if parts[0] != "resnets" or len(parts) < 2:
            continue
        if not may_import(room, parts[1]):
            wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_from_right_to_left(path: Path) -> None:
    if path.parent == SOURCE and path.name in ("__init__.py", "__main__.py"):
        pytest.skip("the package's own face may name every room")
    assert wrong_imports(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("models/a.py", "from resnets.data import decode"),
        ("data/a.py", "def f():\n    from resnets import train"),
        ("report/a.py", "import resnets.training.loop"),
        ("study/a.py", "from resnets.deploy.bench import run"),
        ("deploy/a.py", "from ..study import lesion"),
        ("tasks/a.py", "from resnets.cli.app import main"),
        ("errors.py", "from resnets.models import zoo"),
        ("weights/a.py", "from resnets import create"),
    ],
)
def test_an_import_against_the_order_is_found(file: str, line: str) -> None:
    assert wrong_imports(SOURCE / file, line)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("training/a.py", "from resnets.report import page"),
        ("data/a.py", "from resnets.errors import UserError"),
        ("cli/a.py", "def f():\n    from resnets.recipes import job"),
        ("models/a.py", "from . import layers"),
        ("training/sub/a.py", "from ..loop import fit"),
        ("weights/a.py", "from resnets import __version__"),
    ],
)
def test_an_import_along_the_order_is_let_pass(file: str, line: str) -> None:
    assert wrong_imports(SOURCE / file, line) == []


def test_every_room_stands_in_the_order() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(STEP)
    files = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert files == GROUND_FLOOR


def test_models_import_torch_and_torchvision_and_nothing_else_from_outside() -> None:
    allowed = {"torch", "torchvision", "resnets", *sys.stdlib_module_names}
    for path in sorted((SOURCE / "models").glob("*.py")):
        for module in imported_modules(ast.parse(path.read_text()), "resnets.models"):
            first = module.split(".")[0]
            if path.name == "drawing.py" and first == "matplotlib":
                continue  # a drawing needs a drawing library; nothing that computes imports it
            assert first in allowed, f"{path.name} imports {module}"


HEAVY = ("torch", "torchvision", "numpy", "PIL", "matplotlib", "sklearn", "scipy", "safetensors")


@pytest.mark.parametrize(
    "statement",
    [
        "import resnets; dir(resnets); resnets.__version__; resnets.UserError",
        "import resnets.errors, resnets.atomic, resnets.progress",
        "from resnets.cli.app import application; application()",
        "from resnets.cli.app import main; main(['--help'])",
        "from resnets.cli.app import main; main(['train', '--help'])",
    ],
)
def test_the_face_and_the_command_line_are_light(statement: str) -> None:
    code = f"import sys; {statement}; print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]


def test_every_public_name_can_be_had() -> None:
    for name in resnets.__all__:
        assert getattr(resnets, name) is not None
        assert name in dir(resnets)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = resnets.no_such_name  # type: ignore[attr-defined]


def test_no_public_name_is_that_of_a_package_or_module() -> None:
    """Python would set the attribute to the submodule as soon as it is imported."""
    inside = {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not inside & set(resnets.__all__)


def test_a_submodule_can_be_imported_under_another_name() -> None:
    import resnets.training.loop as loop

    assert loop.__name__ == "resnets.training.loop"
    assert callable(resnets.train)


def test_no_interpreter_tricks() -> None:
    """An object whose class was replaced cannot be pickled; the others change the process of whoever imports the package.

    A child process for hostile files is our own.
    """
    tricks = ("__class__ =", "os._exit", "gc.freeze", "gc.disable")
    assert [
        (path.name, trick)
        for path in FILES
        for trick in tricks
        if trick in path.read_text() and not path.stem.endswith("_child")
    ] == []
