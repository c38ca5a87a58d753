"""`report.html`: the report of a run or of an evaluation, as one offline HTML file."""

from __future__ import annotations

import base64
import io
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnets import atomic_write
from resnets.report.figures import font_fallback
from resnets.report.html import number_formats, prediction_stats, report_text, run_files, tables
from resnets.report.html.run_files import RunFiles

if TYPE_CHECKING:
    from jinja2 import Template

NUM_TOP_LOSSES = 24
PHOTOGRAPHS = ("top_losses.png", "val_batch_pred.jpg", "train_batch.jpg")
_JPEG_QUALITY = 85
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # except tabs and line ends

SECTIONS = (  # anchor, title in the navigation, and whether it is of a training run only
    ("curves", "training", True),
    ("confusion", "confused classes", False),
    ("confidence", "confidence", False),
    ("losses", "highest losses", False),
    ("images", "images", False),
    ("classes", "classes", False),
    ("use", "use it", False),
    ("data", "data", True),
    ("settings", "settings", True),
    ("environment", "machine", True),
)


def write(run: str | Path) -> Path:
    """Write `report.html` into the run directory, from the files that are there; a missing file is named in its section.

    The page contains its images and loads nothing: its content security policy forbids it.
    """
    files = run_files.read(run)
    text = _template().render(_context(files))
    out = files.path / "report.html"
    atomic_write.write_bytes(out, text.encode("utf-8", "backslashreplace"))
    return out


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_without_controls
    )
    environment.filters["percent"] = number_formats.percent
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment.from_string(_resource("page.html"))


def _resource(name: str) -> str:
    return resources.files("resnets.report.html").joinpath(name).read_text("utf-8")


def _without_controls(value: Any) -> Any:
    """Control characters are not valid in HTML; those of a name are shown as their codes."""
    if not isinstance(value, str) or not _CONTROL.search(value):
        return value
    # `type(value)` keeps what jinja2 has marked as already escaped.
    return type(value)(_CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value))


def _context(files: RunFiles) -> dict[str, Any]:
    from markupsafe import Markup

    stats = prediction_stats.from_rows(files.predictions)
    names = {name for each in stats.predictions for name in (each.true, each.predicted)}
    headline, explanation = report_text.headline(files, stats)
    return {
        "files": files,
        "title": report_text.title(files),
        "headline": headline,
        "explanation": explanation,
        "basis": report_text.basis(files),
        "summary": report_text.summary(files, stats),
        "key_numbers": tables.key_numbers(files),
        "sections": [entry[:2] for entry in SECTIONS if not (entry[2] and files.is_evaluation)],
        "split_name": report_text.split_name(files),
        "commands": report_text.commands(files),
        "code": report_text.code(files),
        "learning": report_text.learning(files),
        "stats": stats,
        "pairs": tables.pairs(files, stats),
        "escaped_names": not font_fallback.is_drawable(names),
        "confidence": report_text.confidence(files, stats),
        "thresholds": stats.thresholds(),
        "top_losses": stats.top_losses(NUM_TOP_LOSSES),
        "classes": tables.class_rows(files),
        "splits": tables.split_rows(files),
        "environment": list(tables.flatten(files.environment)),
        "images": {name: Markup(_embedded(name, content)) for name, content in files.images.items()},
        "path": str(files.path.resolve()),
        "css": Markup(_resource("page.css")),
        "js": Markup(_resource("page.js")),
    }


def _embedded(name: str, content: bytes) -> str:
    """An image as a data URL; photographs stored as PNG are embedded as JPEG, at a quarter of the size."""
    if name in PHOTOGRAPHS:
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
