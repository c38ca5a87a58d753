"""The offline page of a run."""

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

from resnets.report import draw_run
from resnets.report.html import page

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
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
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


def read(path) -> Reader:
    return Reader(path.read_text("utf-8"))


def test_the_numbers_of_the_files_are_on_the_page(finished):
    run, _ = finished()
    page.write(run)
    text = read(run / "report.html").text
    # 30 of 40 are right; Wilson's interval is 59.8 to 85.8 %.
    assert "Of 100 images like these it gets about 60 to 86 right." in text
    assert "75.0 %" in text
    assert "59.8 % to 85.8 %" in text
    assert "Measured on 40 validation images that were not trained on but were used to select the epoch" in text
    assert "best epoch2of 3" in text
    assert "optim.lr 0.125 --lr" in re.sub(r"\s+", " ", " ".join(read(run / "report.html").words))
    assert "2.15.0+test" in text
    assert f"resnets predict '{run.resolve()}'" in text
    assert f"resnets evaluate '{run.resolve()}'" in text
    assert "160" in text  # training images of split.csv
    assert "T = " not in text
    assert "The temperature 1.50" in text
    assert "3 min 4 s" in text


def test_the_page_is_one_whole_offline_file(finished):
    run, predictions = finished()
    (run / "train_batch.jpg").write_bytes(b"")
    draw_run.draw_all(run, predictions)
    text = (run / "report.html").read_text("utf-8")
    found = Reader(text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe|srcset", re.sub(r"base64,[^\"]*", "", text))
    sources = [value for name, value in found.attributes if name == "src"]
    assert len(sources) == 5
    assert all(source.startswith("data:image/") for source in sources)
    links = [value for name, value in found.attributes if name == "href"]
    assert sorted(links) == sorted(f"#{name}" for name in found.ids)
    assert "default-src 'none'" in text
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            image.load()


def test_every_name_is_shown_and_none_is_obeyed(finished):
    run, predictions = finished(classes=EVIL, count=40)
    draw_run.draw_all(run, predictions)
    found = read(run / "report.html")
    assert found.tags.count("script") == 1
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    for name in EVIL[:4]:
        assert name in "".join(found.words)
    assert "{{ 7 * 7 }}\\x07" in found.text
    assert "flowers & <b>bees</b>" in found.text
    assert "b" not in found.tags


def test_an_empty_folder_says_what_is_missing(tmp_path):
    found = read(page.write(tmp_path))
    assert "has not been evaluated" in found.text
    for name in ("results.png", "confusion_matrix.png", "reliability.png", "top_losses.png", "val_batch_pred.jpg",
                 "train_batch.jpg", "per_class.csv", "split.csv", "recipe.toml", "environment.json"):  # fmt: skip
        assert f"{name} is not in the run directory" in found.text


@pytest.mark.parametrize(
    "name", ["metrics.json", "metrics.jsonl", "predictions.csv", "per_class.csv", "split.csv", "recipe.toml"]
)
def test_any_file_may_be_missing_or_empty(finished, name):
    run, _ = finished()
    for change in (lambda: (run / name).write_text(""), (run / name).unlink):
        change()
        assert read(page.write(run)).text


def test_a_damaged_file_is_named(finished):
    run, _ = finished()
    (run / "environment.json").write_text("{")
    assert "environment.json is damaged" in read(page.write(run)).text


def test_without_validation(unmeasured):
    draw_run.draw_all(unmeasured, None)
    found = read(unmeasured / "report.html")
    assert "This run has no labeled validation images" in found.text
    assert "There were no validation images: the curves show" in found.text
    assert [value for name, value in found.attributes if name == "src"]


def test_an_evaluation_names_its_checkpoint_and_leaves_out_the_training(finished, rewrite):
    run, predictions = finished()
    for name in ("metrics.jsonl", "results.csv", "recipe.toml", "environment.json", "split.csv"):
        (run / name).unlink()
    rewrite(run, split="all", data="new flowers", protocol="1 crop", checkpoints=["runs/one/weights/best.safetensors"])
    draw_run.draw_all(run, predictions)
    found = read(run / "report.html")
    assert "Training" not in found.text
    assert "is not in the run directory" not in found.text
    assert "/runs/one/weights/best.safetensors IMAGE" in found.text
    assert "Measured on 40 images: 75.0 % right" in found.text
    assert "only if the model was not trained on them" in found.text
    assert "Protocol: 1 crop." in found.text
    links = [value for name, value in found.attributes if name == "href"]
    assert sorted(links) == sorted(f"#{name}" for name in found.ids)


def test_one_class_and_a_thousand_classes(finished):
    run, _ = finished(classes=["only"], count=5)
    assert "it gets about" in read(page.write(run)).text
    run, _ = finished(classes=[f"class {k}" for k in range(1000)], count=60)
    assert len(re.findall("class 999", read(page.write(run)).text)) >= 1


def test_the_highest_losses_are_embedded_as_jpeg(finished):
    run, _ = finished()
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(run / "top_losses.png")
    page.write(run)
    assert (run / "report.html").stat().st_size < 2_000_000 < (run / "top_losses.png").stat().st_size
    (run / "top_losses.png").write_bytes(b"no image")
    page.write(run)


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_click_on_a_column_sorts_in_a_real_browser(finished, tmp_path):
    run, _ = finished(classes=["ant", "bee", "cat", "dog"], count=42)
    page.write(run)
    text = (run / "report.html").read_text("utf-8")
    click = (
        "<script>const head = [...document.querySelectorAll('#classes th')].find((one) => one.textContent == 'class');"
        "head.firstChild.click(); head.firstChild.click();</script></body>"
    )
    (tmp_path / "clicked.html").write_text(text.replace("</body>", click), "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path / 'clicked.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    table = done.stdout[done.stdout.index('id="classes"') :]
    assert re.findall(r"<bdi>(ant|bee|cat|dog)</bdi>", table)[:4] == ["dog", "cat", "bee", "ant"]
    assert 'aria-sort="descending"' in table
