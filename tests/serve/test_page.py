"""The page of the server in a real Chromium: all ways in, all that it shows, and no request to any other host."""

from __future__ import annotations

import base64
import csv
import importlib.util
import io
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests import exported_files, tiny_checkpoint
from tests.in_soak import only_in_soak
from tests.serve.running import END_SECONDS, Gate, encode, reference, running, segmenter, serve, tiny_model
from tests.tiny_checkpoint import NAMES, colored_images

import resnets
from resnets.cli import main
from resnets.report.figures.class_color import class_color
from resnets.serve.settings import ServerSettings
from resnets.tasks.classification.task import Classification
from resnets.tasks.multilabel.task import Multilabel
from resnets.tasks.trained_model import TrainedModel

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a camera
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT_MS = 1000 * END_SECONDS
ORIENTATION = 0x112  # the tag of EXIF


@contextmanager
def serving(*models: TrainedModel, names: Sequence[str] = ("tiny",), **settings: Any) -> Iterator[str]:
    """The address of the page of a server."""
    named = [serve(model, name) for model, name in zip(models, names, strict=True)]
    with running(named, ServerSettings(**settings)) as (address, _):
        yield f"{address}/"


@pytest.fixture(scope="module")
def detector() -> Any:
    return resnets.load("fasterrcnn_light_tiny.digit_scenes", "cpu", precision="fp32")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(reference()) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page. At the end, it has asked no other host, and has complained of nothing, such as its security policy."""
    requested: list[str] = []
    complaints: list[str] = []
    with ExitStack() as stack:

        def opened(address: str, **options: Any) -> Any:
            context = browser.new_context(
                **{"viewport": DESKTOP, "permissions": ["camera", "clipboard-write"], **options}
            )
            stack.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            context.on("request", lambda request: requested.append(request.url))
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            # Chromium notes each answer with an error, which some tests want.
            page.on("console", lambda note: complaints.append(note.text) if is_complaint(note) else None)
            page.goto(address)
            return page

        yield opened
    assert {urlsplit(url).hostname or urlsplit(url).scheme for url in requested} <= {"127.0.0.1", "blob", "data"}
    assert complaints == []


def is_complaint(note: Any) -> bool:
    return note.type in ("error", "warning") and "Failed to load resource" not in note.text


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three images, one of which has a name that CSV has to quote."""
    paths = [tmp_path / name for name in ("one.png", 'a "second", one.png', "<b>third<b>.jpg")]
    for path, pixels in zip(paths, colored_images(3), strict=True):
        Image.fromarray(pixels).save(path, quality=95)
    return paths


def file_transfer(page: Any, path: Path) -> Any:
    """A `DataTransfer` with the file, as a drop or a paste has it."""
    content = base64.b64encode(path.read_bytes()).decode()
    return page.evaluate_handle(
        """([content, name]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name, { type: "image/png" }));
            return transfer;
        }""",
        [content, path.name],
    )


def sentences(page: Any, count: int) -> list[str]:
    """Those of the answers, once all are there."""
    page.locator(".answer .sentence").nth(count - 1).wait_for()
    found: list[str] = page.locator(".answer .sentence").all_text_contents()
    return found


def sentence(prediction: Any) -> str:
    return f"{prediction.label} {100 * prediction.probability:.1f} %"


def test_chosen_images_get_the_answers_of_predict(
    show: Callable[..., Any], address: str, images: list[Path], tmp_path: Path
) -> None:
    page = show(address)
    page.set_input_files("#files", images)
    expected = reference().predict(images)
    assert sentences(page, 3) == [sentence(each) for each in expected]
    assert page.locator(".answer h3").all_text_contents() == [path.name for path in images]
    bars = [text.split("\n") for text in page.locator(".answer").first.locator(".bars li").all_inner_texts()]
    assert bars == [[name, f"{100 * probability:.1f} %"] for name, probability in expected[0].top]
    assert page.locator("#status").text_content() == "3 images answered."
    with page.expect_download() as download:
        page.click("#csv")
    assert (
        main.main(
            ["predict", str(exported_files.checkpoint_file()), *map(str, images), "--csv", str(tmp_path / "a.csv")]
        )
        == 0
    )
    of_page, of_command = (
        list(csv.DictReader(io.StringIO(path.read_text()))) for path in (download.value.path(), tmp_path / "a.csv")
    )
    assert [row | {"path": str(tmp_path / row["path"])} for row in of_page] == of_command
    page.locator(".answer").first.get_by_role("button", name="Remove one.png").click()
    assert page.locator("#rows tr").count() == 2
    page.click("#clear")
    assert page.locator(".answer, #rows tr").count() == 0


def test_dropped_and_pasted_images_are_answered(show: Callable[..., Any], address: str, images: list[Path]) -> None:
    page = show(address)
    page.locator("#model dd").first.wait_for()
    page.dispatch_event("body", "drop", {"dataTransfer": file_transfer(page, images[0])})
    expected = [sentence(each) for each in reference().predict(images[:2])]
    assert sentences(page, 1) == expected[:1]
    pasted = file_transfer(page, images[1])
    page.evaluate(
        "(data) => document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))",
        pasted,
    )
    assert sentences(page, 2) == expected[::-1]


def test_the_camera_gives_images_and_answers_while_it_runs(show: Callable[..., Any], address: str) -> None:
    page = show(address)
    page.locator("#model dd").first.wait_for()
    page.click("#open-camera")
    page.click("#still")
    assert sentences(page, 1)[0].endswith(" %")
    assert page.locator(".answer h3").text_content() == "camera 1.jpg"
    natural = page.evaluate(
        "() => { const image = document.querySelector('.answer img'); return image.naturalWidth * image.naturalHeight; }"
    )
    assert natural > 0
    with page.expect_response("**/v1/predict*"), page.expect_response("**/v1/predict*"):
        page.click("#watch")
    page.locator("#seen .sentence").wait_for()
    assert page.locator(".answer").count() == 1
    page.click("#watch")
    page.locator("#seen .sentence").wait_for(state="detached")
    track = page.evaluate_handle("() => document.querySelector('video').srcObject.getVideoTracks()[0]")
    page.click("#close-camera")
    assert track.evaluate("(track) => track.readyState") == "ended"


def drawn(page: Any) -> np.ndarray:
    """The pixels of the canvas over the first image, uint8 (height, width, 4)."""
    width, height, values = page.evaluate(
        """() => {
            const { width, height } = document.querySelector(".answer canvas");
            const context = document.querySelector(".answer canvas").getContext("2d");
            return [width, height, Array.from(context.getImageData(0, 0, width, height).data)];
        }"""
    )
    return np.array(values, np.uint8).reshape(height, width, 4)


def test_the_heat_map_is_that_of_the_model(show: Callable[..., Any], address: str, images: list[Path]) -> None:
    page = show(address)
    page.set_input_files("#files", images[0])
    page.get_by_role("button", name="Heat map").click()
    slider = page.get_by_role("slider", name="Heat map")
    slider.wait_for()
    maps = {name: reference().heatmap(images[0], name) for name in NAMES}
    limit = max(float(np.abs(each.values).max()) for each in maps.values())
    best, *others = page.locator(".bars b").all_text_contents()
    for name in (best, others[-1]):
        page.get_by_role("button", name=name).click()
        expected = maps[name].on_image()
        opacity = np.where(np.isnan(expected), 0.65, 0.75 * np.minimum(np.abs(expected) / limit, 1))
        pixels = drawn(page)
        assert np.abs(pixels[..., 3] - 255 * opacity).max() <= 1
        strong = opacity > 0.3
        colors = np.where((expected > 0)[..., None], (230, 60, 0), (0, 90, 230))
        colors[np.isnan(expected)] = 255
        assert strong.mean() > 0.05
        assert np.abs(pixels[strong][:, :3].astype(int) - colors[strong]).max() <= 2
    slider.fill("30")
    assert page.locator(".answer canvas").evaluate("(canvas) => canvas.style.opacity") == "0.3"
    assert page.locator(".answer img").evaluate("(image) => image.style.filter") == "grayscale(30%)"


@only_in_soak("5 s")
def test_there_are_heat_maps_of_all_classes(show: Callable[..., Any], images: list[Path], tmp_path: Path) -> None:
    """Also of those that are not in the answer."""
    names = tuple(f"class {number}" for number in range(8))
    tiny_checkpoint.write(tmp_path / "eight.safetensors", task=Classification(names))
    model = resnets.load(tmp_path / "eight.safetensors", "cpu", precision="fp32")
    (whole,) = model.predict(images[0], top_k=8)
    with serving(model) as address:
        page = show(address)
        page.set_input_files("#files", images[0])
        page.get_by_role("button", name="Heat map").click()
        chooser = page.get_by_label("Another class")
        maps = {name: model.heatmap(images[0], name) for name, _ in whole.top[:5]}
        for name, value in whole.top[5:]:
            chooser.select_option(name)
            page.locator(".bars li", has_text=name).wait_for()
            pressed = page.locator(".bars [aria-pressed=true]")
            assert pressed.inner_text().split("\n") == [name, f"{100 * value:.1f} %"]
            page.mouse.move(1, 1)  # or the map of the class below the pointer is shown
            maps[name] = model.heatmap(images[0], name)
            expected, limit = maps[name].on_image(), max(float(np.abs(each.values).max()) for each in maps.values())
            opacity = np.where(np.isnan(expected), 0.65, 0.75 * np.minimum(np.abs(expected) / limit, 1))
            assert np.abs(drawn(page)[..., 3] - 255 * opacity).max() <= 1
        assert chooser.count() == 0
        assert page.locator(".bars b").all_text_contents() == [name for name, _ in whole.top]


@only_in_soak("3 s")
def test_files_that_come_before_the_model_is_known_are_answered(
    show: Callable[..., Any], address: str, images: list[Path]
) -> None:
    page = show(address)
    held: list[Any] = []
    page.route("**/v1/model", lambda route: held.append(route))
    with page.expect_request("**/v1/model"):
        page.reload()
    page.set_input_files("#files", images[0])
    page.dispatch_event("body", "drop", {"dataTransfer": file_transfer(page, images[1])})
    assert page.locator(".answer").count() == 0
    held[0].continue_()
    assert sentences(page, 2) == [sentence(each) for each in reference().predict(images[:2])]


@only_in_soak("5 s")
def test_what_the_server_refuses_is_said_in_words(show: Callable[..., Any], images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(100_001))
    tiny = tiny_model()
    gate = Gate(tiny)
    with serving(tiny, max_body_bytes=100_000, queue=1) as address:
        page = show(address)
        posted: list[str] = []
        page.on("request", lambda request: posted.append(request.url))
        # A file that is too large is not sent. That of a proxy in front of the server may be smaller than the server's limit.
        page.set_input_files("#files", tmp_path / "large.png")
        page.locator(".answer").get_by_text("This file is larger than the server accepts.").wait_for()
        assert not [url for url in posted if "predict" in url]
        page.route("**/v1/predict*", lambda route: route.fulfill(status=413), times=1)
        page.set_input_files("#files", images[0])
        page.locator(".answer").get_by_text("This file is larger than the server accepts.").nth(1).wait_for()
        gate.close()
        page.set_input_files("#files", images[0])
        gate.wait_for_batch()
        page.set_input_files("#files", images[1])
        page.locator(".answer").get_by_text("The server is busy.").wait_for()
        gate.opened.set()
        sentences(page, 1)
        page.get_by_role("button", name="Try again").click()
        assert sentences(page, 2) == [sentence(each) for each in reference().predict([images[1], images[0]])]
    page.set_input_files("#files", images[2])
    page.locator(".answer").get_by_text("The server cannot be reached.").wait_for()
    with serving(tiny, timeout_seconds=0.1) as address:
        page = show(address)
        gate.close()
        page.set_input_files("#files", images[0])
        page.locator(".answer").get_by_text("The server did not answer in time.").wait_for()
        gate.opened.set()


@only_in_soak("2 s")
def test_an_unreadable_image_leaves_the_others(
    show: Callable[..., Any], address: str, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "notes.jpg").write_text("no image")
    page = show(address)
    page.set_input_files("#files", [tmp_path / "notes.jpg", images[0]])
    sentences(page, 1)
    reason = reference().predict(tmp_path / "notes.jpg")[0].error
    shown = page.locator(".answer .wrong")
    shown.wait_for()
    assert shown.text_content() == f"This file {reason}"
    assert page.locator("#status").text_content() == "2 images answered, 1 of them with an error."
    assert page.locator("#rows .wrong").text_content() == f"This file {reason}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    """Handwritten digits, wider than high."""
    folder = tmp_path_factory.mktemp("scenes")
    assert main.main(["data", "get", "digit-scenes", str(folder / "data"), "--count", "50", "--size", "128"]) == 0
    with Image.open(min((folder / "data").rglob("*.png"))) as image:
        whole = Image.new("RGB", (192, 128), "white")
        whole.paste(image.convert("RGB"), (40, 0))
        return whole


UPRIGHT = """async (bytes) => {
  const { upright } = await import("/upright.js");
  const shown = await createImageBitmap(await upright(new File([Uint8Array.from(bytes)], "image.webp")));
  const canvas = new OffscreenCanvas(shown.width, shown.height);
  canvas.getContext("2d").drawImage(shown, 0, 0);
  return [shown.height, shown.width, [...canvas.getContext("2d").getImageData(0, 0, shown.width, shown.height).data]];
}"""

IS_LEFT = """async (bytes) => {
  const { upright } = await import("/upright.js"), file = new File([Uint8Array.from(bytes)], "image.webp");
  return await upright(file) === file;
}"""


@only_in_soak("3 s")
def test_a_webp_is_shown_upright(show: Callable[..., Any], address: str) -> None:
    """Chromium does not turn it, and what is drawn over it would lie elsewhere."""
    pixels = colored_images(1)[0][::4, ::3]
    page = show(address)
    for orientation in (None, 0, 9, *range(1, 9)):
        exif = Image.Exif()
        if orientation is not None:
            exif[ORIENTATION] = orientation
        content = encode(pixels, "WEBP", lossless=True, exif=exif)
        height, width, found = page.evaluate(UPRIGHT, list(content))
        with Image.open(io.BytesIO(content)) as stored:
            expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
        np.testing.assert_array_equal(np.reshape(found, (height, width, 4))[..., :3], expected, str(orientation))
    for damaged in (content[:-20], content[:4], b""):
        assert page.evaluate(IS_LEFT, list(damaged))


@pytest.mark.parametrize("suffix", ["jpg", pytest.param("webp", marks=only_in_soak("3 s"))])
def test_boxes_are_where_the_detector_found_them_on_an_image_that_a_phone_has_turned(
    show: Callable[..., Any], detector: Any, scene: Image.Image, tmp_path: Path, suffix: str
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90 degrees
    file = tmp_path / f"scene.{suffix}"
    scene.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif, quality=95)
    (expected,) = detector.predict(file)
    assert expected.size == (128, 192)
    assert expected.objects
    with serving(detector) as address:
        page = show(address)
        page.set_input_files("#files", file)
        sentences(page, 1)
        page.wait_for_function("() => document.querySelector('.answer img').naturalWidth === 192")
        image = page.locator(".answer img").bounding_box()
        assert image["width"] == pytest.approx(1.5 * image["height"], rel=0.01)
        scale = image["width"] / 192
        found = page.locator(".answer .box").evaluate_all(
            "(all) => all.map((box) => box.getBoundingClientRect()).map((box) => [box.left, box.top, box.right, box.bottom])"
        )
        moved = np.array(found) - np.tile([image["x"], image["y"]], 2)
        assert np.abs(moved - scale * np.array([each.box for each in expected.objects])).max() < 1
        assert page.locator(".answer .box").all_text_contents() == [each.label for each in expected.objects]
        first = page.locator(".bars button").first
        first.click()
        assert first.get_attribute("aria-pressed") == "true"
        assert page.locator(".box.shown").count() == 1


@only_in_soak("3 s")
def test_classes_of_pixels_are_drawn_in_their_colors(show: Callable[..., Any], images: list[Path]) -> None:
    model = segmenter()
    (expected,) = model.predict(images[0])
    assert len(expected.areas) > 1
    with serving(model) as address:
        page = show(address)
        page.set_input_files("#files", images[0])
        first, *_ = expected.areas.items()
        assert sentences(page, 1)[0].startswith(f"{first[0]} {100 * first[1]:.1f} %")
        colors = np.array([class_color(k) for k in range(len(model.class_names))], np.uint8)
        pixels = drawn(page)
        np.testing.assert_array_equal(pixels[..., :3], colors[expected.mask])
        assert (pixels[..., 3] == 255).all()


@only_in_soak("3 s")
def test_several_labels_or_none(show: Callable[..., Any], images: list[Path], tmp_path: Path) -> None:
    for least, name in ((0.001, "all"), (0.999, "none")):
        task = Multilabel(NAMES, fitted={"thresholds": dict.fromkeys(NAMES, least)})
        tiny_checkpoint.write(tmp_path / f"{name}.safetensors", task=task)
    models = [resnets.load(tmp_path / f"{name}.safetensors", "cpu", precision="fp32") for name in ("all", "none")]
    found, nearest = (model.predict(images[0])[0] for model in models)
    with serving(*models, names=("all", "none")) as address:
        page = show(address)
        page.set_input_files("#files", images[0])
        assert sentences(page, 1) == [", ".join(f"{name} {100 * value:.1f} %" for name, value in found.labels)]
        with page.expect_download() as download:
            page.click("#csv")
        assert list(csv.DictReader(io.StringIO(download.value.path().read_text()))) == [
            found.to_row() | {"path": "one.png"}
        ]
        page.get_by_label("Model", exact=True).select_option("none")
        page.get_by_text("No class reaches its threshold; this is the nearest one.").wait_for()
        assert sentences(page, 1) == ["no label"]
        assert page.locator(".bars b").all_text_contents() == [nearest.top[0]]
        page.get_by_role("button", name="Heat map").click()
        page.locator(".answer canvas").wait_for()


@only_in_soak("4 s")
def test_several_models_and_a_token(
    show: Callable[..., Any], detector: Any, scene: Image.Image, tmp_path: Path
) -> None:
    scene.save(tmp_path / "scene.png")
    tiny = tiny_model()
    gate = Gate(tiny)
    with serving(tiny, detector, names=("first", "second"), token="a-secret") as address:
        page = show(address)
        field = page.get_by_label("This server asks for its token.")
        for token, outcome in (("wrong", "#status"), ("a-secret", "#model dd")):
            field.fill(token)
            page.get_by_role("button", name="Use it").click()
            page.locator(outcome).filter(has_text=".").first.wait_for()
        assert field.is_hidden()
        assert "-H 'Authorization: Bearer TOKEN'" in page.locator("#curl").text_content()
        page.set_input_files("#files", tmp_path / "scene.png")
        assert sentences(page, 1) == [sentence(reference().predict(tmp_path / "scene.png")[0])]
        gate.close()
        page.set_input_files("#files", tmp_path / "scene.png")
        gate.wait_for_batch()  # an answer that nobody wants any more
        page.get_by_label("Model", exact=True).select_option("second")
        page.get_by_role("heading", name="second").wait_for()
        gate.opened.set()
        sentences(page, 2)
        assert page.locator(".answer .over:has(.box)").count() == 2
        assert page.locator("#name").text_content() == "second"
        assert "v1/predict?model=second" in page.locator("#python").text_content()


def test_the_same_from_a_program(
    show: Callable[..., Any],
    address: str,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is copied is run as it stands."""
    shutil.copyfile(images[0], tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    page = show(address, permissions=["clipboard-read", "clipboard-write"])
    page.locator("#model dd").first.wait_for()
    page.get_by_role("button", name="Copy the Python code").click()
    page.get_by_text("Copied", exact=True).wait_for()
    exec(page.evaluate("() => navigator.clipboard.readText()"))
    (expected,) = reference().predict(images[0])
    assert f"'label': {expected.label!r}" in capsys.readouterr().out
    command = shlex.split(page.locator("#curl").text_content())
    if shutil.which("curl"):
        answer = json.loads(subprocess.run([*command, "--silent"], capture_output=True, check=True).stdout)
        assert (answer["label"], answer["probability"]) == (
            expected.label,
            pytest.approx(expected.probability, abs=1e-5),
        )
    text = page.locator("#model").inner_text()
    for part in (
        "classification",
        *NAMES,
        "one view of 61x45",
        "top1 0.5 (50 images)",
        "none; exported files have one",
    ):
        assert part in text


@only_in_soak("3 s")
def test_the_image_of_the_documentation_can_be_drawn(browser: Any, address: str, tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location(
        "screenshot", Path(__file__).parents[2] / "docs" / "screenshot.py"
    )
    assert specification is not None
    assert specification.loader is not None
    screenshot = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(screenshot)
    screenshot.draw(browser, address, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        assert image.size == (screenshot.SIZE["width"], screenshot.SIZE["height"])
        assert len(image.convert("RGB").getcolors(2**24)) > 1000  # of the images


NAMELESS = """() => [...document.querySelectorAll("button, input, select, img, section, article, [tabindex]")].filter((each) =>
    !each.hidden && !each.labels?.length && !(each.ariaLabel || each.getAttribute("aria-labelledby") || each.alt
    || (each.tagName === "BUTTON" && each.textContent.trim()))).map((each) => each.outerHTML)"""

# The ratio of the luminances of a text and of what is below it (WCAG 2.2, 1.4.3), which is to be 4.5 or more.
CONTRAST = """(text, below) => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => parts(color).slice(0, 3).map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, k) => sum + value * [0.2126, 0.7152, 0.0722][k], 0);
    let under = below ? document.querySelector(below) : text;
    while (parts(getComputedStyle(under).backgroundColor)[3] === 0) under = under.parentElement;
    const colors = [getComputedStyle(text).color, getComputedStyle(under).backgroundColor];
    const [dark, light] = colors.map(luminance).sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
}"""


def test_phones_keyboards_screen_readers_and_both_color_schemes(
    show: Callable[..., Any], address: str, images: list[Path]
) -> None:
    page = show(address, viewport=PHONE)
    page.set_input_files("#files", [*images, images[0]])
    sentences(page, 4)
    page.get_by_role("link", name="All answers as a table").click()
    page.locator(":target table").wait_for()  # a browser follows a link within a page some time after the click
    page.get_by_role("button", name="Heat map").first.click()
    page.get_by_role("slider").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(NAMELESS) == []
    levels = page.locator("h1, h2, h3").evaluate_all("(all) => all.map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1 or levels[:2] == [1, 3]
    assert page.locator("#status").get_attribute("role") == "status"
    backgrounds = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        backgrounds.add(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
        for selector in ("body", ".quiet", ".sentence", ".bars b", ".bars span", "dt", "button", ".button"):
            assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (scheme, selector)
        assert page.locator(".bars b").first.evaluate(CONTRAST, ".bars li > i") >= 4.5, scheme
    assert len(backgrounds) == 2
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "files"
    outline = page.locator("label[for=files]").evaluate("(label) => getComputedStyle(label).outlineStyle")
    assert outline == "solid"
