"""Imports go one way, between packages and between files. The sources are read, not run."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import resnets

SOURCE = Path(resnets.__file__).parent
BASE = {
    *(
        "errors",
        "message_format",
        "check_settings",
        "nested_tensors",
        "connection_errors",
        "hashing",
        "cache_dir",
        "atomic_write",
        "progress",
        "ranks",
        "resource_limits",
        "timeout",
    ),
    "disable_telemetry",
}
# Each package may import those before it.
ORDER = [
    "downloads",
    "models",
    "data",
    "weights",
    "inference",
    "recipes",
    "report",
    "tasks",
    "serve",
    "training",
    "export",
    "studies",
    "api",
    "keras",
    "cli",
]
PACKAGES = {package: position for position, package in enumerate(ORDER)}
FILES = sorted(SOURCE.rglob("*.py"))


def package_of(path: Path) -> str:
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
            # `from resnets import data` names a package in the second half.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def home_of(path: Path) -> str:
    """The package that the relative imports of this file begin from."""
    return ".".join(["resnets", *path.relative_to(SOURCE).parent.parts])


@cache
def imports_of(path: Path) -> list[str]:
    return list(imported_modules(ast.parse(path.read_text()), home_of(path)))


def may_import(package: str, other: str) -> bool:
    if package == other or other == "__version__":
        return True
    if package in BASE or other in BASE:
        return other in BASE
    # A name that is no package is one of the public names, which are above everything.
    return other in PACKAGES and PACKAGES[other] < PACKAGES[package]


def wrong_imports(path: Path, modules: Iterable[str]) -> list[str]:
    """Those of the modules that this file imports against the order, each as a sentence."""
    wrong = []
    for module in modules:
        parts = module.split(".")
        if parts[0] == "resnets" and len(parts) > 1 and not may_import(package_of(path), parts[1]):
            wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
    return wrong


def test_imports_go_from_right_to_left() -> None:
    public = {SOURCE / "__init__.py", SOURCE / "__main__.py"}  # their names come from every package
    assert [each for path in FILES if path not in public for each in wrong_imports(path, imports_of(path))] == []


def wrong_line(file: str, line: str) -> list[str]:
    path = SOURCE / file
    return wrong_imports(path, imported_modules(ast.parse(line), home_of(path)))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("models/a.py", "from resnets.data import decode"),
        ("data/a.py", "def f():\n    from resnets import train"),
        ("report/a.py", "import resnets.tasks.classification.metrics"),
        ("models/summary/a.py", "from ...weights import checkpoint"),
        ("tasks/a.py", "from resnets.cli.main import main"),
        ("errors.py", "from resnets.models import zoo"),
        ("weights/a.py", "from resnets import create_model"),
    ],
)
def test_an_import_against_the_order_is_found(file: str, line: str) -> None:
    assert wrong_line(file, line)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("training/a.py", "from resnets.report.html import page"),
        ("data/a.py", "from resnets.errors import UserError"),
        ("cli/a.py", "def f():\n    from resnets.training import train"),
        ("models/a.py", "from . import layers"),
        ("training/sub/a.py", "from ..loop import fit"),
        ("weights/a.py", "from resnets import __version__"),
    ],
)
def test_an_import_along_the_order_is_let_pass(file: str, line: str) -> None:
    assert wrong_line(file, line) == []


def modules_among(names: Iterable[str], module: str, modules: Set[str]) -> set[str]:
    """Those of `modules` that this module imports, inside functions too. Packages count as their `__init__`."""
    found = set()
    for name in names:
        while name and name not in modules:  # the last part may be a function or class
            name = name.rpartition(".")[0]
        found |= {name} - {"", module, "resnets"}
    return found


def cycles(imports: Mapping[str, Set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module."""
    index = {module: number for number, module in enumerate(imports)}
    rows, columns = zip(*((index[a], index[b]) for a in imports for b in imports[a]), strict=True)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(index), len(index)))
    count, labels = connected_components(graph, directed=True, connection="strong")
    groups = [[module for module, label in zip(imports, labels, strict=True) if label == n] for n in range(count)]
    return [group for group in groups if len(group) > 1]


def test_no_file_imports_itself_by_way_of_others() -> None:
    names = {".".join(["resnets", *path.relative_to(SOURCE).with_suffix("").parts]): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in names.items()}
    imports = {name: modules_among(imports_of(path), name, modules.keys()) for name, path in modules.items()}
    del imports["resnets"]  # its public names are imported when they are used
    assert sum(map(len, imports.values())) > 500
    assert cycles(imports) == []


def test_a_cycle_of_imports_is_found() -> None:
    modules = {"resnets.a", "resnets.b", "resnets.c"}
    texts = {"a": "from resnets.b import f", "b": "def f():\n    from . import c", "c": "import resnets.a"}
    imports = {
        f"resnets.{name}": modules_among(imported_modules(ast.parse(text), "resnets"), f"resnets.{name}", modules)
        for name, text in texts.items()
    }
    assert cycles(imports) == [["resnets.a", "resnets.b", "resnets.c"]]


def drawn_imports() -> dict[str, set[str]]:
    """What the drawing in ARCHITECTURE.md says that each package imports."""
    text = (SOURCE.parents[1] / "ARCHITECTURE.md").read_text()
    lines = text.split("```text\n")[1].split("```")[0].splitlines()
    drawn: dict[str, set[str]] = {}
    for line in lines:
        if not line.startswith(" "):
            names = line.partition("<-")[2].strip().split("  ")[0].split()
            drawn[line.split()[0]] = set(names)
    return drawn


def test_the_drawing_shows_the_imports_between_packages() -> None:
    if not (SOURCE.parents[1] / "ARCHITECTURE.md").is_file():
        pytest.skip("the package is installed without its documents")
    imports: dict[str, set[str]] = {package: set() for package in ORDER}
    for path in FILES:
        if (home := package_of(path)) in imports:
            names = {module.split(".")[1] for module in imports_of(path) if module.startswith("resnets.")}
            imports[home] |= (names & set(ORDER)) - {home}
    assert drawn_imports() == imports


def test_a_folder_holds_at_most_fifteen_files() -> None:
    folders = {path.parent for path in FILES}
    assert [folder.name for folder in folders if len(list(folder.glob("*.py"))) > 16] == []  # with __init__.py


def test_every_package_stands_in_the_order() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packages == set(PACKAGES)
    files = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert files == BASE


def test_models_import_torch_and_torchvision_and_nothing_else_from_outside() -> None:
    allowed = {"torch", "torchvision", "resnets", *sys.stdlib_module_names}
    for path in sorted((SOURCE / "models").rglob("*.py")):
        for module in imports_of(path):
            first = module.split(".")[0]
            if path.name == "diagram.py" and first == "matplotlib":
                continue  # a drawing needs a drawing library; nothing that computes imports it
            assert first in allowed, f"{path.name} imports {module}"


HEAVY = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "matplotlib",
    "sklearn",
    "scipy",
    "safetensors",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "starlette",
    "ray",
)
SLOW = ("torchvision", "matplotlib", "pandas", "scipy.sparse", "scipy.stats", "sklearn")


@pytest.mark.parametrize(
    "statement",
    [
        "import resnets; dir(resnets); resnets.__version__; resnets.UserError",
        "import resnets.errors, resnets.atomic_write, resnets.progress",
        "from resnets.cli.main import application; application()",
        "from resnets.cli.main import main; main(['--help']); "
        "[main([verb, '--help']) for verb in ('train', 'export', 'quantize', 'serve', 'study')]",
    ],
)
def test_the_public_package_and_the_command_line_do_not_import_torch(statement: str) -> None:
    code = f"import sys; {statement}; print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]


def test_a_prediction_imports_no_library_that_only_training_and_reports_need(tmp_path: Path) -> None:
    """They take two seconds; of the tasks, only detection computes with torchvision."""
    Image.new("RGB", (40, 30), "green").save(tmp_path / "image.png")
    code = (
        "import importlib, sys; from resnets.cli.main import main; "
        f"main(['predict', 'cifar_resnet20.cifar10', {str(tmp_path / 'image.png')!r}, '--backend', 'torch']); "
        "[importlib.import_module(f'resnets.tasks.{task}.task') for task in ('multilabel', 'segmentation')]; "
        f"print('SLOW', *[name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "image.png" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["SLOW"]


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
