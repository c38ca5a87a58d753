"""The offline page of a run, whatever its task."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from resnets.report.content import Code, Column, Figure, KeyNumber, ReportContent, Section, Table, Wrong
from resnets.report.html import page
from resnets.report.number_formats import percent
from resnets.report.run_files import RunFiles

VOID = {"meta", "img", "br", "hr", "input", "link"}
EVIL = ["<script>alert('x')</script>", "玫瑰 & Ромашка", 'a" onmouseover="alert(1)', "ورد\u202e", "{{ 7 * 7 }}\x07"]


class Reader(HTMLParser):
    """Reads a page and complains of tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


def read(run, content) -> Reader:
    return Reader(page.write(RunFiles(run), content).read_text("utf-8"))


def test_a_task_without_sections_has_a_page_with_everything_that_all_tasks_share(run):
    found = read(run, ReportContent(headline="Mean IoU 0.5.", key_numbers=[KeyNumber("mIoU", "0.5", "of 3 images")]))
    assert "a run Mean IoU 0.5. mIoU0.5of 3 images training time3 min 4 s3 epochs" in found.text
    assert "training images375 % of all validation images125 % of all" in found.text
    assert found.values("id") == ["curves", "data", "settings", "environment"]
    assert found.values("href") == [f"#{anchor}" for anchor in found.values("id")]
    assert "results.png is not in the run directory" in found.text
    assert "splitimages training3 validation1" in found.text
    assert 'name"scratch"recipe scratch optim.lr0.125--lr' in found.text
    assert "versions.torch2.15.0+test commandresnets train 'a b' gpunone" in found.text


def test_sections_are_between_the_curves_and_the_data(run):
    Image.new("RGB", (8, 8)).save(run / "masks.png")
    columns = [Column("file", "code"), Column("found"), Column("IoU", "number", percent, bar=True)]
    rows = [("a.jpg", "road", 0.25), ("b.jpg", Wrong("sky"), None)]
    blocks = ["A sentence.", "", Figure("masks.png", "Masks", "A caption"), Code("import resnets")]
    blocks += [Table(columns, rows, summary="Files"), Table(columns, []), Table(columns, [], file="ious.csv")]
    content = ReportContent(
        "A.", title="t", curves="It fell.", sections=[Section("masks", "Masks", blocks)], data=["B."]
    )
    found = read(run, content)
    assert found.values("id") == ["curves", "masks", "data", "settings", "environment"]
    assert "It fell." in found.text
    assert "Masks A sentence. A caption import resnets Files filefoundIoU a.jpgroad25.0 % b.jpgsky" in found.text
    assert "ious.csv has no data for it" in found.text
    assert "Data B." in found.text
    assert found.values("data-value") == ["0.25", ""]
    assert "name wrong" in found.values("class")
    assert "width:25.0%" in found.values("style")


def test_the_page_loads_nothing(run):
    for name in ("results.png", "train_batch.jpg", "photos.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(run / name)
    (run / "broken.png").write_bytes(b"no image")
    photos = [Figure("photos.png", "Photos", photographs=True), Figure("broken.png", "Broken", photographs=True)]
    found = read(run, ReportContent("A.", sections=[Section("photos", "Photos", photos)]))
    text = (run / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe|srcset", re.sub(r"base64,[^\"]*", "", text))
    assert "default-src 'none'" in text
    sources = found.values("src")
    kinds = [source[:16] for source in sources]
    assert kinds == ["data:image/png;b", "data:image/jpeg;", "data:image/png;b", "data:image/jpeg;"]
    for source in (sources[0], sources[1], sources[3]):
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            image.load()


def test_every_name_is_shown_and_none_is_obeyed(run):
    table = Table([Column("name"), Column("file", "code")], [(name, name) for name in EVIL])
    blocks = [*EVIL, table, Code(EVIL[0]), Figure(EVIL[0], EVIL[0])]
    found = read(
        run, ReportContent(EVIL[0], EVIL[0], EVIL[0], sections=[Section("evil", EVIL[2], blocks)], summary=EVIL)
    )
    assert found.tags.count("script") == 1
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    for name in EVIL[:4]:
        assert name in "".join(found.words)
    assert "{{ 7 * 7 }}\\x07" in found.text


def test_an_empty_folder_says_what_is_missing(tmp_path):
    found = read(tmp_path, ReportContent("Nothing."))
    for name in ("results.png", "train_batch.jpg", "split.csv", "recipe.toml", "environment.json"):
        assert f"{name} is not in the run directory" in found.text


def test_a_damaged_file_is_named(run):
    (run / "environment.json").write_text("{")
    assert "environment.json is damaged" in read(run, ReportContent("A.")).text


def test_an_evaluation_has_only_the_sections_of_its_task(tmp_path):
    (tmp_path / "metrics.json").write_text('{"count": 3}')
    found = read(tmp_path, ReportContent("A.", sections=[Section("masks", "Masks", ["B."])]))
    assert found.values("id") == ["masks"]
    assert "is not in the run directory" not in found.text


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_click_on_a_column_sorts_in_a_real_browser(run, tmp_path):
    table = Table([Column("class")], [(name,) for name in ("bee", "ant", "dog", "cat")])
    text = page.write(RunFiles(run), ReportContent("A.", sections=[Section("classes", "C", [table])])).read_text(
        "utf-8"
    )
    click = (
        "<script>const head = [...document.querySelectorAll('#classes th')].find((one) => one.textContent == 'class');"
        "head.firstChild.click(); head.firstChild.click();</script></body>"
    )
    (tmp_path / "clicked.html").write_text(text.replace("</body>", click), "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path / 'clicked.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    shown = done.stdout[done.stdout.index('id="classes"') :]
    assert re.findall(r"<bdi>(ant|bee|cat|dog)</bdi>", shown)[:4] == ["dog", "cat", "bee", "ant"]
    assert 'aria-sort="descending"' in shown
