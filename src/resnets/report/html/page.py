"""The report of a run: one offline HTML file with everything a person wants to know of it (`report.html`)."""

from __future__ import annotations

import base64
import io
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnets import atomic_write
from resnets.report.figures import font_fallback
from resnets.report.html import number_text, prediction_counts, run_files, sections
from resnets.report.html.run_files import Folder

if TYPE_CHECKING:
    from jinja2 import Template

MOST_WORST = 24
PHOTOGRAPHS = ("top_losses.png", "val_batch_pred.jpg", "train_batch.jpg")
_JPEG_QUALITY = 85
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tabs and ends of lines; a page holds megabytes

SECTIONS = (  # anchor, words in the list at the top, and whether it is about a training run only
    ("curves", "training", True),
    ("confusion", "what it confuses", False),
    ("confidence", "confidence", False),
    ("losses", "worst losses", False),
    ("images", "images", False),
    ("classes", "classes", False),
    ("use", "use it", False),
    ("data", "data", True),
    ("settings", "settings", True),
    ("environment", "machine", True),
)


def write(run: str | Path) -> Path:
    """Write `report.html` into the run folder from the files that are there; what is missing is said in its place.

    The page holds its images and loads nothing: its content security policy forbids it.
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
    environment.filters["percent"] = number_text.percent
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment.from_string(_part("page.html"))


def _part(name: str) -> str:
    return resources.files("resnets.report").joinpath(name).read_text("utf-8")


def _without_controls(value: Any) -> Any:
    """Control characters are no HTML; in a name they are shown as their codes."""
    if not isinstance(value, str) or not _CONTROL.search(value):
        return value
    # `type(value)` keeps what jinja2 has marked as already escaped.
    return type(value)(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value))


def _context(files: Folder) -> dict[str, Any]:
    from markupsafe import Markup

    results = prediction_counts.count(files.predictions)
    names = {name for one in results.said for name in (one.true, one.predicted)}
    headline, explanation = sections.headline(files, results)
    return {
        "folder": files,
        "title": sections.title(files),
        "headline": headline,
        "explanation": explanation,
        "basis": sections.basis(files),
        "summary": sections.summary(files, results),
        "facts": sections.facts(files),
        "sections": [entry[:2] for entry in SECTIONS if not (entry[2] and files.is_evaluation)],
        "part": sections.part_measured(files),
        "commands": sections.commands(files),
        "code": sections.code(files),
        "course": sections.course(files),
        "tally": results,
        "pairs": sections.pairs(files, results),
        "coded": not font_fallback.is_drawable(names),
        "confidence": sections.confidence(files, results),
        "thresholds": results.thresholds(),
        "worst": results.worst(MOST_WORST),
        "classes": sections.class_rows(files),
        "split": sections.split_rows(files),
        "environment": list(sections.flat(files.environment)),
        "images": {name: Markup(_embedded(name, content)) for name, content in files.images.items()},
        "place": str(files.path.resolve()),
        "css": Markup(_part("page.css")),
        "js": Markup(_part("page.js")),
    }


def _embedded(name: str, content: bytes) -> str:
    """An image as a data address; photographs kept as PNG go in as JPEG, at a quarter of the size."""
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
