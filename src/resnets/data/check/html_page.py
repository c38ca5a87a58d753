"""Write the result of a check as one offline HTML page, with thumbnails of the images in question."""

from __future__ import annotations

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
from resnets.data.check.problem_kinds import LEVELS, Finding, Problem
from resnets.data.datasets.dataset import relative_path
from resnets.data.image.decode import DecodeError, decode
from resnets.message_format import format_bytes, num_shown

SHOWN_CASES = 24  # of a kind of problem; the others are counted, and are in the JSON
SHOWN_DUPLICATES = 8  # of one image
SHOWN_LINES = 200  # of findings without an image
SIDE = 144  # pixels of a thumbnail
JPEG_QUALITY = 80


class Tile(NamedTuple):
    path: str
    image: str  # a data URI, or empty when the image cannot be read


class Case(NamedTuple):
    tiles: list[Tile]
    more: int
    note: str

    @property
    def has_image(self) -> bool:
        """Whether there is an image to show; a file that cannot be read is only named."""
        return any(tile.image for tile in self.tiles)


def write(path: str | Path, report: CheckReport) -> None:
    """Write the page. It is one file, shows thumbnails of the images in question, and loads nothing from anywhere."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _visible
    environment.filters["count"] = lambda number: f"{number:,}"
    splits = list(next(iter(report.class_counts.values()), {}))
    largest = max((sum(counts.values()) for counts in report.class_counts.values()), default=0)
    text = environment.from_string(TEMPLATE).render(
        report=report,
        size=format_bytes(report.bytes),
        levels=[(level, [each for each in report.problems if each.level == level]) for level in LEVELS],
        cases=functools.partial(_cases, report.root),
        splits=[split or "images" for split in splits],
        largest=max(largest, 1),
        histograms=[("Shorter side, pixels", report.sides), ("Format", report.formats), ("Mode", report.modes)],
        css=CSS,
    )
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _cases(root: str, problem: Problem) -> list[Case]:
    shown = num_shown(len(problem.findings), SHOWN_CASES)
    cases = [_case(root, finding) for finding in problem.findings[:shown]]
    if any(case.has_image for case in cases):
        return cases
    lines = num_shown(len(problem.findings), SHOWN_LINES)
    return cases + [_case(root, finding) for finding in problem.findings[shown:lines]]


def _case(root: str, finding: Finding) -> Case:
    shown = num_shown(len(finding.paths), SHOWN_DUPLICATES)
    tiles = [Tile(relative_path(root, path), _thumbnail(path)) for path in finding.paths[:shown]]
    return Case(tiles, len(finding.paths) - len(tiles), finding.note)


@functools.lru_cache(maxsize=512)
def _thumbnail(path: str) -> str:
    try:
        image = Image.fromarray(decode(path, min_side=SIDE))
    except DecodeError:
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


# The colors of the report of a run.
CSS = """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f8fa; --ink: #1f2328; --quiet: #59636e; --rule: #d8dee4;
  --error: #cc3311; --warning: #b35900; --note: #0077bb; --bar: #0077bb; }
@media (prefers-color-scheme: dark) { :root { --paper: #121212; --card: #1e2023; --ink: #e6e9ed; --quiet: #9aa4af;
  --rule: #333c46; --error: #ff7a5c; --warning: #f2975f; --note: #4db2ec; --bar: #4db2ec; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", "PingFang SC",
  "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.15rem; font-weight: 600; margin: 0; color: var(--quiet); overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 3rem 0 0.6rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 0; }
.headline { font-size: 2.1rem; line-height: 1.25; font-weight: 700; margin: 0.4rem 0 0.8rem; max-width: 46rem; }
.quiet { color: var(--quiet); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.8rem; margin: 1.4rem 0; }
.facts div { background: var(--card); border-radius: 0.6rem; padding: 0.8rem 1rem; }
.facts dt { font-size: 0.85rem; color: var(--quiet); }
.facts dd { margin: 0; font-size: 1.35rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.problem { border-left: 4px solid var(--level); background: var(--card); border-radius: 0 0.6rem 0.6rem 0;
  padding: 0.9rem 1.1rem; margin: 1rem 0; }
.error { --level: var(--error); } .warning { --level: var(--warning); } .note { --level: var(--note); }
.problem .number { color: var(--level); font-variant-numeric: tabular-nums; margin-right: 0.3rem; }
.problem p { margin: 0.15rem 0 0; }
.cases { display: flex; flex-wrap: wrap; gap: 0.9rem; margin-top: 0.8rem; align-items: flex-start; }
.case { background: var(--paper); border: 1px solid var(--rule); border-radius: 0.5rem; padding: 0.5rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 0.5rem; }
figure { margin: 0; width: 9rem; }
figure img, figure .none { display: block; width: 9rem; height: 9rem; object-fit: contain; border-radius: 0.3rem;
  background: repeating-conic-gradient(var(--card) 0 25%, var(--paper) 0 50%) 0 0 / 1rem 1rem; }
figure .none { display: grid; place-items: center; color: var(--quiet); font-size: 2rem; background: var(--card); }
figcaption, .remark { font-size: 0.78rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: 0.3rem; }
.remark { color: var(--level); font-weight: 600; }
.case:not(.several) .remark { max-width: 9rem; }
.problem ul { margin: 0.5rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; max-height: 30rem; overflow-y: auto; }
code { font: 0.9rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
nav { display: flex; flex-wrap: wrap; gap: 0.4rem 0.5rem; font-size: 0.875rem; }
nav a { text-decoration: none; color: var(--ink); border: 1px solid var(--rule); border-left: 4px solid var(--level);
  border-radius: 0.3rem; padding: 0.1rem 0.6rem; }
nav a:hover { background: var(--card); }
nav .all { --level: var(--rule); }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1.5rem; align-items: start; }
.scroll { overflow: auto; max-height: 40rem; border: 1px solid var(--rule); border-radius: 0.4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.9rem; text-align: left; border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
th { position: sticky; top: 0; background: var(--card); font-size: 0.875rem; white-space: nowrap; }
th.number, td.number { text-align: right; white-space: nowrap; }
td.chart { width: 35%; min-width: 6rem; }
td.chart i { display: block; height: 0.7rem; min-width: 1px; background: var(--bar); border-radius: 0.2rem; }
"""

TEMPLATE = """
{%- macro bar(number, largest) -%}
<td class="chart">{% if number %}<i style="width:{{ "%.1f"|format(100 * number / largest) }}%"></i>{% endif %}</td>
{%- endmacro -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>Check of {{ report.root }}</title>
<style>{{ css|safe }}</style>
</head>
<body>
<header>
<h1>Check of <bdi>{{ report.root }}</bdi></h1>
<p class="headline">{{ report.summary }}</p>
<dl class="facts">
<div><dt>images</dt><dd>{{ report.images|count }}</dd></div>
<div><dt>classes</dt><dd>{{ report.class_counts|length|count }}</dd></div>
<div><dt>on disk</dt><dd>{{ size }}</dd></div>
{% for name, (width, height) in report.sizes.items() if name == "median" %}
<div><dt>median size</dt><dd>{{ width }} x {{ height }}</dd></div>
{% endfor %}
</dl>
<nav>
{% for level, problems in levels %}{% for problem in problems %}
<a class="{{ level }}" href="#{{ problem.kind }}">{{ problem.findings|length|count }} {{ problem.title }}</a>
{% endfor %}{% endfor %}
<a class="all" href="#all">Summary</a>
</nav>
</header>
<main>
{% for level, problems in levels if problems %}
<section>
<h2>{{ {"error": "Errors: training would fail, or its result would be wrong", "warning": "Warnings",
         "note": "Notes"}[level] }}</h2>
{% for problem in problems %}
{% set shown = cases(problem) %}
<article class="problem {{ level }}" id="{{ problem.kind }}">
<h3><span class="number">{{ problem.findings|length|count }}</span> {{ problem.title }}</h3>
<p class="quiet">{{ problem.advice }}</p>
{% if shown|selectattr("has_image")|list %}
<div class="cases">
{% for case in shown %}
<div class="case{% if case.tiles|length > 1 %} several{% endif %}">
<div class="tiles">
{% for tile in case.tiles %}
<figure>
{% if tile.image %}<img src="{{ tile.image }}" alt="" loading="lazy">{% else %}<div class="none">?</div>{% endif %}

<figcaption><bdi>{{ tile.path }}</bdi></figcaption>
</figure>
{% endfor %}
</div>
{% if case.note %}<div class="remark"><bdi>{{ case.note }}</bdi></div>{% endif %}

{% if case.more %}<div class="remark">and {{ case.more|count }} more</div>{% endif %}
</div>
{% endfor %}
</div>
{% else %}
<ul>
{% for case in shown %}
<li>{% for tile in case.tiles %}<code><bdi>{{ tile.path }}</bdi></code> {% endfor %}<bdi>{{ case.note }}</bdi></li>
{% endfor %}
</ul>
{% endif %}
{% if problem.findings|length > shown|length %}
<p class="quiet">and {{ (problem.findings|length - shown|length)|count }} more, listed by <code>--json</code></p>
{% endif %}
</article>
{% endfor %}
</section>
{% endfor %}
<section id="all">
<h2>Summary</h2>
<div class="tables">
<div class="scroll"><table>
<thead><tr><th>class</th>{% for split in splits %}<th class="number">{{ split }}</th>{% endfor %}<th></th></tr></thead>
<tbody>
{% for name, counts in report.class_counts.items() %}
<tr><td><bdi>{{ name }}</bdi></td>{% for number in counts.values() %}<td class="number">{{ number|count }}</td>
{% endfor %}{{ bar(counts.values()|sum, largest) }}</tr>
{% endfor %}
</tbody></table></div>
{% for title, histogram in histograms if histogram %}
<div class="scroll"><table>
<thead><tr><th>{{ title }}</th><th class="number">images</th><th></th></tr></thead>
<tbody>
{% for name, number in histogram.items() %}
<tr><td>{{ name }}</td><td class="number">{{ number|count }}</td>{{ bar(number, histogram.values()|max) }}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
</div>
</section>
</main>
</body>
</html>
"""
