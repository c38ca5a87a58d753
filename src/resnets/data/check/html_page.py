"""Write the result of a check as one offline HTML page, with thumbnails of the images in question."""

import base64
import functools
import io
import unicodedata
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from PIL import Image

from resnets.atomic_write import write_bytes
from resnets.data.check.check import CheckReport
from resnets.data.check.problem_kinds import Finding, Problem
from resnets.data.datasets.dataset import relative_path
from resnets.data.image.decode import DecodeError, decode
from resnets.data.mask_datasets import overlay
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.errors import UserError
from resnets.message_format import format_bytes, num_shown

SHOWN_CASES = 24  # of a kind of problem; the others are counted, and are in the JSON
SHOWN_DUPLICATES = 8  # of one image
SIDE = 144  # pixels of a thumbnail
JPEG_QUALITY = 80


class Case(NamedTuple):
    images: list[tuple[str, str]]  # path, and a data URI, or "" when the image cannot be read
    note: str


def write(path: str | Path, report: CheckReport) -> None:
    """Write the page. It is one file, shows thumbnails of the images in question, and loads nothing from anywhere."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _visible
    environment.filters["count"] = lambda number: f"{number:,}"
    text = environment.from_string(TEMPLATE).render(
        report=report,
        size=format_bytes(report.bytes),
        cases=functools.partial(_cases, report),
        splits=[split or "images" for split in next(iter(report.class_counts.values()), {})],
        histograms=[("Shorter side, pixels", report.sides), ("Format", report.formats), ("Mode", report.modes)],
    )
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _cases(report: CheckReport, problem: Problem) -> list[Case]:
    shown = num_shown(len(problem.findings), SHOWN_CASES)
    return [_case(report, finding) for finding in problem.findings[:shown]]


def _case(report: CheckReport, finding: Finding) -> Case:
    shown = num_shown(len(finding.paths), SHOWN_DUPLICATES)
    more = f"and {len(finding.paths) - shown:,} more" if shown < len(finding.paths) else ""
    images = [
        (relative_path(report.root, path), _thumbnail(path, report.masks.get(path))) for path in finding.paths[:shown]
    ]
    return Case(images, " ".join(filter(None, (finding.note, more))))


@functools.lru_cache(maxsize=512)
def _thumbnail(path: str, mask: ImageMask | None) -> str:
    """The image, with its mask if it has one."""
    try:
        image = Image.fromarray(decode(path, min_side=SIDE)) if mask is None else overlay.thumbnail(path, mask, SIDE)
    except (DecodeError, UserError):
        return ""
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _visible(value: object) -> object:
    """Control characters in names, which could reverse the text, are shown as codes."""
    if type(value) is not str:
        return value
    return "".join(char if unicodedata.category(char) not in ("Cc", "Cf") else f"\\u{ord(char):04x}" for char in value)


TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Check of {{ report.root }}</title>
<style>
:root { color-scheme: light dark; --error: #cc3311; --warning: #b35900; --note: #0077bb; }
body { margin: auto; padding: 2rem 1.25rem; max-width: 76rem; font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
article { border-left: 4px solid var(--level); padding: 0 1rem; margin: 1.5rem 0; }
.error { --level: var(--error); } .warning { --level: var(--warning); } .note { --level: var(--note); }
.cases, .case { display: flex; flex-wrap: wrap; gap: 0.7rem; align-items: flex-start; }
.case { border: 1px solid #8888; border-radius: 0.5rem; padding: 0.5rem; }
figure { margin: 0; width: 9rem; font-size: 0.78rem; }
img { display: block; width: 9rem; height: 9rem; object-fit: contain; }
th, td { padding: 0.2rem 0.9rem; text-align: left; }
</style>
</head>
<body>
<h1>Check of <bdi>{{ report.root }}</bdi></h1>
<p><strong>{{ report.summary }}</strong></p>
<p>{{ report.images|count }} images in {{ report.class_counts|length|count }} classes, {{ size }}</p>
{% for problem in report.problems %}
<article class="{{ problem.level }}">
<h2>{{ problem.findings|length|count }} {{ problem.title }} ({{ problem.level }})</h2>
<p>{{ problem.advice }}</p>
<div class="cases">
{% set shown = cases(problem) %}
{% for case in shown %}
<div class="case">
{% for path, image in case.images %}
<figure>{% if image %}<img src="{{ image }}" alt="" loading="lazy">{% endif %}
<figcaption><bdi>{{ path }}</bdi></figcaption></figure>
{% endfor %}
<bdi>{{ case.note }}</bdi>
</div>
{% endfor %}
</div>
{% if problem.findings|length > shown|length %}
<p>and {{ (problem.findings|length - shown|length)|count }} more, listed by <code>--json</code></p>
{% endif %}
</article>
{% endfor %}
<table>
<tr><th>class</th>{% for split in splits %}<th>{{ split }}</th>{% endfor %}</tr>
{% for name, counts in report.class_counts.items() %}
<tr><td><bdi>{{ name }}</bdi></td>{% for number in counts.values() %}<td>{{ number|count }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% for title, histogram in histograms if histogram %}
<table>
<tr><th>{{ title }}</th><th>images</th></tr>
{% for name, number in histogram.items() %}<tr><td>{{ name }}</td><td>{{ number|count }}</td></tr>{% endfor %}
</table>
{% endfor %}
</body>
</html>
"""
