"""`report.html`: the report of a run or of an evaluation, as one offline HTML file."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import shlex
from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnets import atomic_write
from resnets.report.content import Column, Figure, KeyNumber, ReportContent, Section, Table
from resnets.report.number_formats import count, duration, percent
from resnets.report.run_files import RunFiles, leaves

if TYPE_CHECKING:
    from jinja2 import Template

_JPEG_QUALITY = 85
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # except tabs and line ends


def write(files: RunFiles, content: ReportContent) -> Path:
    """Write `report.html` into the run directory; a missing file is named in its section.

    The page contains its images and loads nothing: its content security policy forbids it.
    """
    sections = content.sections
    if not files.is_evaluation:
        figure = Figure("results.png", "Loss, metrics and learning rate over the epochs")
        curves = Section("curves", "Training", [content.curves, figure])
        sections = [curves, *sections, *_run_sections(files, content)]
    text = _template().render(
        files=files,
        content=content,
        title=content.title or files.path.resolve().name,
        key_numbers=[*content.key_numbers, *_key_numbers(files)],
        sections=sections,
        problems=files.problems,
        path=str(files.path.resolve()),
    )
    out = files.path / "report.html"
    atomic_write.write_bytes(out, text.encode("utf-8", "backslashreplace"))
    return out


def _key_numbers(files: RunFiles) -> Iterator[KeyNumber]:
    seconds = files.rows[-1].get("time_seconds") if files.rows else None
    if seconds:
        yield KeyNumber("training time", duration(seconds), f"{len(files.rows):,} epoch{'s' * (len(files.rows) > 1)}")
    total = sum(labels.total() for labels in files.splits.values())
    for name, labels in files.splits.items():
        yield KeyNumber(f"{name} images", count(labels.total()), f"{percent(labels.total() / total, 0)} of all")


def _run_sections(files: RunFiles, content: ReportContent) -> Iterator[Section]:
    """The sections on the data, the settings and the machine."""
    splits = [(name, labels.total()) for name, labels in files.splits.items()]
    columns = [Column("split"), Column("images", "number", count)]
    batch = Figure("train_batch.jpg", "Training images after augmentation", "Training images after augmentation.", True)
    yield Section("data", "Data", [*(content.data or [Table(columns, splits, file="split.csv")]), batch])
    as_json = partial(json.dumps, ensure_ascii=False, default=str)
    columns = [Column("setting", "code"), Column("value", "code", as_json), Column("origin")]
    table = Table(columns, files.recipe, file="recipe.toml")
    yield Section("settings", "Settings", ["All values of this run with their origin.", table])
    rows = [(key, _environment_text(value)) for key, value in leaves(files.environment)]
    columns = [Column("name", "code"), Column("value")]
    yield Section("environment", "Machine and versions", [Table(columns, rows, file="environment.json")])


def _environment_text(value: Any) -> str:
    if isinstance(value, list):  # a command
        return shlex.join(map(str, value))
    return "none" if value is None else str(value)


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_without_controls
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["data_url"] = lambda figure, files: Markup(_data_url(files, figure))
    environment.filters["resource"] = lambda name: Markup(_resource(name))
    return environment.from_string(_resource("page.html"))


def _resource(name: str) -> str:
    return resources.files("resnets.report.html").joinpath(name).read_text("utf-8")


def _without_controls(value: Any) -> Any:
    """Control characters are not valid in HTML; those of a name are shown as their codes."""
    if not isinstance(value, str) or not _CONTROL.search(value):
        return value
    # `type(value)` keeps what jinja2 has marked as already escaped.
    return type(value)(_CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value))


def _data_url(files: RunFiles, figure: Figure) -> str:
    """The image as a data URL, "" where there is none; photographs in a PNG become a JPEG, a quarter of the size."""
    content = files.image(figure.file)
    if not content:
        return ""
    if figure.photographs:
        content = _as_jpeg(content)
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _as_jpeg(content: bytes) -> bytes:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
    except OSError:
        return content
    return min(content, buffer.getvalue(), key=len)
