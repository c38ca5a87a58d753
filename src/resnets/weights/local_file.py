"""Find a checkpoint on this machine: a file, the best one of a run directory, or weights in the package."""

import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from resnets.cache_dir import cache_dir
from resnets.data.datasets.open_dataset import contains_images
from resnets.errors import UserError
from resnets.message_format import format_list, suggestion
from resnets.models import model_names, zoo
from resnets.weights.hub import bundled, catalog

SUFFIX = bundled.SUFFIX
BEST = Path("weights") / f"best{SUFFIX}"  # within a run directory
EXPORTED = {".onnx": "onnx", ".pt2": "torch"}  # suffixes of exported files; OpenVINO's is a folder
OPENVINO_FILE = "model.xml"  # in that folder
REPOSITORY_FILE = "model.onnx"  # in the folder of a version of a model repository
LIBRARY_FILES = ("model.safetensors", "pytorch_model.bin")  # beside the config.json of Hugging Face and timm


def find(path: str | Path) -> Path:
    """The file for `path`: itself, `weights/best.safetensors` in a run directory, or weights in the package of that name.
    `find_weights.find_file` finds published weights, too.

    Raises:
        UserError: there is nothing at `path`, or it is neither an ordinary file nor a run directory.
    """
    name, path = str(path), Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if file := bundled.path_of(name):
            return file
        raise UserError(f"There is no checkpoint '{path}'.{_missing_hint(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_ISDIR(mode):
        return path if exported_format(path) else _in_folder(path)
    if not stat.S_ISREG(mode):
        raise UserError(f"'{path}' is not an ordinary file. A checkpoint is a {SUFFIX} file or a run directory.")
    return path


def is_weights(path: str | Path) -> bool:
    """Whether `path` looks like weights or a run directory; no file is read or downloaded."""
    path = Path(path)
    marks = (BEST, BEST.name, "recipe.toml")
    has_mark = any((path / mark).is_file() for mark in marks)
    return path.suffix == SUFFIX or bool(exported_format(path)) or has_mark or _of_library(path)


def exported_format(path: str | Path) -> str | None:
    """The format of the exported model at `path`, "onnx", "openvino" or "torch", by its name; None if it is none."""
    path = Path(path)
    if (path / OPENVINO_FILE).is_file():
        return "openvino"
    return EXPORTED.get(path.suffix) if path.is_file() else None


def check_not_exported(path: str | Path) -> None:
    """Raise UserError for an exported model where tensors are needed by their names."""
    if exported_format(path):
        raise UserError(
            f"'{path}' is an exported model, which predicts and is evaluated, but has no tensors by name. "
            f"Name the checkpoint that it was exported from, a {SUFFIX} file."
        )


def export_path(file: Path, ending: str) -> Path:
    """A file that is made of a checkpoint: beside it; in the current folder for weights that have a name instead of a path."""
    name = file.name.removesuffix(SUFFIX)
    has_name = file == bundled.path_of(name) or file.is_relative_to(cache_dir())
    return (Path() if has_name else file.parent) / f"{name}{ending}"


def export_paths(file: Path, endings: Mapping[str, str]) -> dict[str, Path]:
    """`export_path` with each ending, by the keys of the endings."""
    return {key: export_path(file, ending) for key, ending in endings.items()}


def is_run_dir(path: str | Path) -> bool:
    """Whether `path` is a run directory; no file is read."""
    return (Path(path) / "recipe.toml").is_file() and (Path(path) / BEST.parent).is_dir()


def server_name(path: str) -> str:
    """The name of the model at `path` on a server and in a model repository: that of its run, of its folder in a repository
    (NAME/1/model.onnx), or of its file without the suffix; of a name of the catalog, itself.
    """
    if not Path(path).exists():
        return path
    resolved = Path(path).resolve()
    if is_run_dir(resolved.parent.parent):
        return resolved.parent.parent.name
    if resolved.name == REPOSITORY_FILE and resolved.parent.name.isdecimal():
        return resolved.parent.parent.name
    suffixes = (SUFFIX, *EXPORTED)
    return next((resolved.name.removesuffix(each) for each in suffixes if resolved.name.endswith(each)), resolved.name)


def as_address(name: str) -> str:
    """The name with letters, digits, ".", "_" and "-" only, as it stands in addresses."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).strip(".") or "model"


def _of_library(folder: Path) -> bool:
    """Whether this looks like a folder of Hugging Face or timm. A config.json alone may be in a folder of images, too."""
    has_weights = any((folder / name).is_file() for name in LIBRARY_FILES)
    return has_weights and (folder / "config.json").is_file()


def with_bundled(path: str | Path) -> Path:
    """`path` or, if it does not exist, the file in the package of that name."""
    return Path(path) if os.path.lexists(path) else bundled.path_of(str(path)) or Path(path)


def _missing_hint(path: Path) -> str:
    if path.name in {*zoo.list_models(), *model_names.list_built_on_networks()}:
        return (
            f" '{path.name}' is the name of a network, not of trained weights: resnets train DATA --model {path.name}, "
            f"or `resnets weights list {path.name}` for published ones."
        )
    if re.match(r"https?:/", str(path)):
        return " Weights are not downloaded from a URL: download the file yourself, and give its path."
    folders = [folder for folder in dict.fromkeys((path.parent, Path("runs"))) if folder.is_dir()]
    beside = {entry.name: str(entry) for folder in reversed(folders) for entry in folder.iterdir()}
    near = suggestion(path.name, beside, shown=beside) or suggestion(path.name, [*bundled.names(), *catalog.entries()])
    runs = [str(entry) for folder in folders for entry in sorted(folder.iterdir()) if (entry / BEST).is_file()]
    if not near and runs:
        return f" Trained runs: {format_list(runs)}."
    return near or " `resnets weights list` shows weights that have a name."


def _in_folder(path: Path) -> Path:
    for candidate in (path / BEST, path / BEST.name):
        if candidate.is_file():
            return candidate
    if _of_library(path):
        raise UserError(
            f"'{path}' is a folder of another library. Convert it: resnets weights convert {shlex.quote(str(path))} --to resnets "
            "--out NAME.safetensors"
        )
    if runs := sorted(entry.parent.parent.name for entry in path.glob(f"*/{BEST}")):
        more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
        raise UserError(f"'{path}' has several runs; name one of them: {', '.join(runs[:5])}{more}.")
    if contains_images(path) and not is_weights(path):
        raise UserError(
            f"'{path}' is a folder of images, not a checkpoint or run directory: resnets predict RUN IMAGES…, "
            "resnets evaluate RUN DATA, resnets train DATA --weights RUN."
        )
    checkpoints = sorted(entry.name for entry in path.glob(f"*{SUFFIX}"))
    has_weights = f" In it: {', '.join(checkpoints[:5])}." if checkpoints else ""
    raise UserError(
        f"'{path}' is a folder without {BEST}, so not one of a finished run. Name the file itself.{has_weights}"
    )
