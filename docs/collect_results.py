"""Copy the verdicts of studies into `docs/study_results`, their figures into `docs/images`, and print the table of `claims.md`.

    python docs/collect_results.py [studies/NAME ...] --command "resnets study NAME ..." --processor "..."

Without folders the table of what is there is printed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
from pathlib import Path
from typing import Any

RESULTS, IMAGES = Path(__file__).parent / "study_results", Path(__file__).parent / "images"
HEADER = "| study | subject | protocol | measured [interval] | level | n | verdict |\n|---|---|---|---|---|---|---|"


def collect(folder: Path, name: str, command: str, processor: str) -> None:
    """Write `study_results/NAME.json` and `images/study_NAME.png` from one study, without the paths of this machine."""
    found = json.loads((folder / "results.json").read_text("utf-8"))
    del found["folder"]
    found["machine"]["processor"] = processor
    date = datetime.date.fromtimestamp((folder / "results.json").stat().st_mtime).isoformat()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"command": command, "date": date, **found}, indent=2) + "\n")
    shutil.copyfile(folder / "figure.png", IMAGES / f"study_{name}.png")


def rows(found: dict[str, Any]) -> list[str]:
    """The lines of the table for one file."""
    lines = []
    for subject, verdict in found["verdicts"].items():
        effect, low, high, count = verdict["interval"].values()
        measured = f"{effect:.3g} [{low:.3g}, {high:.3g}]"
        values = (measured, f"{100 * verdict['confidence']:.5g} %", f"{count:,} {found['registered']['unit']}s")
        lines.append(
            f"| `{found['study']}` | {subject} | {found['protocol']} | {' | '.join(values)} | {verdict['word']} |"
        )
    return lines


def table() -> str:
    """All files of `study_results`, in the order of their names."""
    files = sorted(RESULTS.glob("*.json"))
    return "\n".join([HEADER, *(line for file in files for line in rows(json.loads(file.read_text("utf-8"))))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--command", default="")
    parser.add_argument("--processor", default="")
    given = parser.parse_args()
    if given.folder:
        collect(given.folder, given.name or given.folder.name, given.command, given.processor)
    print(table())


if __name__ == "__main__":
    main()
