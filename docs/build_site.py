"""Build the documentation site into build/docs, from README.md and the pages in docs/ as they are: `make docs`.

README.md becomes the first page. The site needs no network and no server: open build/docs/index.html.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "AGENTS.md")  # beside those in docs/


def collect(folder: Path) -> None:
    """Write all pages, and the files that they link to, into one folder with the links changed accordingly."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", folder)
    for page in folder.glob("*.md"):
        page.write_text(page.read_text().replace("](../", "]("))
    for name in PAGES:
        text = re.sub(r"\]\(docs/", "](", (ROOT / name).read_text())
        (folder / ("index.md" if name == "README.md" else name)).write_text(text)


if __name__ == "__main__":
    collect(ROOT / "build" / "docs-source")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    sys.exit(subprocess.run(command, cwd=ROOT).returncode)
