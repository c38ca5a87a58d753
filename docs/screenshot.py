"""Draw docs/images/page.png: the page of a server with its answers for two drawings, and a heat map over the first one.

    resnets serve cifar_resnet20.cifar10 --port 8765
    python docs/screenshot.py http://127.0.0.1:8765 docs/images/page.png

It needs playwright, and Chromium as a command.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

SIZE = {"width": 1000, "height": 960}


def ship() -> Image.Image:
    image, pen = _background((165, 205, 235), (60, 105, 145), horizon=215)
    pen.polygon([(60, 205), (430, 205), (390, 262), (95, 262)], fill=(120, 40, 36))
    pen.rectangle((120, 160, 330, 205), fill=(240, 240, 236))
    pen.rectangle((150, 125, 290, 160), fill=(225, 226, 226))
    for x in range(135, 320, 28):
        pen.ellipse((x, 176, x + 12, 188), fill=(60, 80, 100))
    pen.rectangle((225, 70, 262, 125), fill=(190, 70, 50))
    pen.line((350, 205, 350, 95), fill=(90, 90, 90), width=5)
    return image.filter(ImageFilter.GaussianBlur(1))


def truck() -> Image.Image:
    image, pen = _background((212, 224, 234), (112, 110, 108), horizon=240)
    pen.rectangle((50, 90, 310, 255), fill=(235, 235, 230))
    pen.polygon([(315, 140), (385, 140), (425, 195), (425, 255), (315, 255)], fill=(180, 60, 50))
    pen.polygon([(345, 152), (380, 152), (408, 193), (345, 193)], fill=(70, 90, 110))
    pen.rectangle((50, 250, 425, 265), fill=(50, 50, 54))
    for x in (110, 200, 365):
        pen.ellipse((x - 34, 236, x + 34, 304), fill=(30, 30, 32))
        pen.ellipse((x - 14, 256, x + 14, 284), fill=(170, 170, 170))
    return image.filter(ImageFilter.GaussianBlur(1))


def _background(
    above: tuple[int, int, int], below: tuple[int, int, int], horizon: int
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (480, 360), above)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, horizon, 480, 360), fill=below)
    return image, pen


def draw(browser: Any, address: str, out: Path) -> None:
    """Write the upper part of the page at `address`, by a browser of playwright."""
    files = []
    for name, image in (("ship.png", ship()), ("truck.png", truck())):
        content = io.BytesIO()
        image.save(content, "PNG")
        files.append({"name": name, "mimeType": "image/png", "buffer": content.getvalue()})
    page = browser.new_page(viewport=SIZE)
    page.goto(address)
    page.locator("#model dd").first.wait_for()
    page.set_input_files("#files", files)
    page.locator(".answer .sentence").nth(1).wait_for()
    page.get_by_role("button", name="Heat map").first.click()
    page.get_by_role("slider").wait_for()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.screenshot(path=out)
    page.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    _, address, out = sys.argv
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw(browser, address, Path(out))
        browser.close()


if __name__ == "__main__":
    main()
