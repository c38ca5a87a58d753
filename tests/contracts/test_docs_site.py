"""The documentation site: its menu lists every page, and what is built needs no other host."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "zensical.toml"
ZENSICAL = importlib.util.find_spec("zensical") is not None
# What a browser loads by itself; a link that a reader may follow is no such thing.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b(?![^>]*\brel=[\"']?(?:canonical|prev|next|alternate))[^>]*\bhref=[\"']?(?:https?:)?//"
    r"|(?:@import|url\()\s*[\"']?(?:https?:)?//",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files_of(menu: Any) -> Iterator[str]:
    for entry in menu.values() if isinstance(menu, dict) else menu:
        if isinstance(entry, str):
            yield entry
        else:
            yield from files_of(entry)


def test_the_menu_lists_every_page_once(builder: ModuleType, tmp_path: Path) -> None:
    builder.collect(tmp_path / "pages")
    listed = list(files_of(tomllib.loads(CONFIG.read_text())["project"]["nav"]))
    assert sorted(listed) == sorted(page.name for page in (tmp_path / "pages").glob("*.md"))


def test_links_lead_to_files_after_the_pages_are_collected(builder: ModuleType, tmp_path: Path) -> None:
    builder.collect(tmp_path)
    for page in tmp_path.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert "://" in target or (tmp_path / target).exists(), f"{page.name}: {target}"


def test_what_a_browser_would_load_is_recognized() -> None:
    for loaded in (
        '<script src="https://a.b/c.js">',
        '<link rel=stylesheet href="//a.b/c.css">',
        "url('https://a.b/c')",
    ):
        assert LOADED.search(loaded)
    for fine in ('<a href="https://a.b">', '<script src="c.js">', '<link rel="canonical" href="https://a.b/">'):
        assert not LOADED.search(fine)


@pytest.mark.skipif(not ZENSICAL, reason="zensical is not installed")
def test_the_site_is_built_and_loads_nothing_from_other_hosts(builder: ModuleType, tmp_path: Path) -> None:
    builder.collect(tmp_path / "build" / "docs-source")
    (tmp_path / CONFIG.name).write_text(CONFIG.read_text())
    subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=tmp_path, check=True, capture_output=True)
    site = tmp_path / "build" / "docs"
    for page in (tmp_path / "build" / "docs-source").glob("*.md"):
        assert (site / page.with_suffix(".html").name).is_file()
    for file in [*site.rglob("*.html"), *site.rglob("*.css")]:
        found = LOADED.search(file.read_text())
        assert found is None, f"{file.relative_to(site)}: {found}"
