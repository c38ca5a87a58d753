"""Measure this project beside its peers: every job, or those that are named.

    python benchmarks/run.py [JOB ...] [--rounds 3] [--flowers FOLDER] [--penn-fudan FOLDER] [--tiny]

`make bench` sets up the peers and calls this. Results go to benchmarks/results/, one file a job.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import table
from harness import HERE, RESULTS, compare
from jobs import WORK, jobs

FLOWERS = HERE.parent / "data" / "flower_photos"
FIGURE = HERE.parent / "docs" / "images" / "speed_ratios.png"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="JOB", help="all of them by default")
    parser.add_argument("--rounds", type=int, default=3, help="times that each contender runs; medians are kept")
    parser.add_argument(
        "--flowers", type=Path, default=FLOWERS, metavar="FOLDER",
        help="TensorFlow's flower_photos, unpacked, for the job 'transfer'; data/flower_photos by default",
    )  # fmt: skip
    parser.add_argument(
        "--penn-fudan", type=Path, metavar="FOLDER",
        help="Penn-Fudan, with PNGImages and PedMasks, for the job 'penn_fudan', which is left out without it",
    )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="only show that everything runs; nothing is kept in docs")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; at least 1 is needed")
    flowers = options.flowers if options.flowers.is_dir() else None
    if options.flowers != FLOWERS and not flowers:
        parser.error(f"--flowers: '{options.flowers}' is no folder")
    if options.penn_fudan and not (options.penn_fudan / "PedMasks").is_dir():
        parser.error(f"--penn-fudan: '{options.penn_fudan}' has no folder PedMasks")
    known = jobs(tiny=options.tiny, flowers=flowers, penn_fudan=options.penn_fudan)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no job '{unknown[0]}'; there is {', '.join(known)}")
    if not flowers and not options.tiny and (not options.names or "transfer" in options.names):
        print("transfer: there are no flowers, so it runs on synthetic images", file=sys.stderr)
    results = WORK / "tiny" if options.tiny else RESULTS
    whole = True
    names = list(options.names or known)
    if not options.penn_fudan and "penn_fudan" in names:
        print("penn_fudan is left out: it needs --penn-fudan FOLDER", file=sys.stderr)
        names.remove("penn_fudan")
    for name in names:
        try:
            whole &= not compare(known[name], rounds=options.rounds, results=results)["failed"]
        except subprocess.CalledProcessError as error:  # its preparation, whose output is above
            print(f"{name} could not be prepared, the other jobs continue: {error}", file=sys.stderr)
            whole = False
    print(table.text(results))
    if not options.tiny:
        table.draw(results, FIGURE)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
