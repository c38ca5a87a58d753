"""Feed damaged annotations to the readers of `resnets.data.object_datasets`.

    python tests/soak/fuzz_annotations.py coco voc --count 10000
    python tests/soak/fuzz_annotations.py yolo --first 4321 --count 1

A case is one file of a small dataset with bytes changed, cut, moved or repeated, made from the format's name and its number. It
is passed when the dataset is read, or refused by a `UserError` of one line, in less than `PATIENCE` seconds and within `MEMORY`
more bytes of addresses. All else is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType

import numpy as np
from PIL import Image

from resnets.data.datasets.dataset import build_dataset
from resnets.data.object_datasets import open_object_dataset
from resnets.data.object_datasets.convert import convert
from resnets.data.object_datasets.object_masks import Polygons, encode
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import ImageError, UserError

sys.path.insert(0, str(Path(__file__).parent))
from mutations import mutate

PATIENCE = 10  # seconds; a good file takes 0.01
MEMORY = 2 * 2**30  # bytes
FILES = {
    "coco": ("coco", "_annotations.coco.json"),
    "yolo": ("yolo", "labels/a.txt"),
    "yolo.yaml": ("yolo", "data.yaml"),
    "voc": ("voc", "Annotations/a.xml"),
    "csv": ("csv", "annotations.csv"),
    "jsonl": ("jsonl", "annotations.jsonl"),
}
SIDES = 48, 64  # height and width of the images


class HungError(Exception):
    """A case took longer than `PATIENCE`."""


def dataset_of(format_: str, folder: Path) -> Path:
    """Three images with boxes, a polygon, run lengths and a crowd, in a format; the path of the file that is changed."""
    mask = np.zeros(SIDES, bool)
    mask[5:20, 8:30] = True
    objects = (
        Object("cat", (3.0, 4.0, 20.5, 30.0)),
        Object("dog", (8.0, 5.0, 30.0, 20.0), encode(mask)),
        Object("a b", (1.0, 1.0, 9.0, 9.0), Polygons(((1.0, 1.0, 9.0, 1.0, 9.0, 9.0),))),
        Object("dog", (30.0, 30.0, 60.0, 47.0), encode(np.roll(mask, 20, axis=0)), crowd=True),
    )
    samples = []
    for name, own in (("a", objects), ("b", objects[:1]), ("c", ())):
        Image.fromarray(np.full((*SIDES, 3), ord(name), np.uint8)).save(folder / f"{name}.png")
        samples.append(make_sample(str(folder / f"{name}.png"), ImageObjects(own, SIDES)))
    kind, file = FILES[format_]
    convert(build_dataset(folder, samples), kind, folder / "data")
    return folder / "data" / file


def fault(location: Path) -> str:
    """What is wrong with how the dataset is read; "" if nothing is."""
    try:
        open_object_dataset.read_and_check(location)
    except (UserError, ImageError) as error:
        return "" if "\n" not in str(error) else f"a message of several lines: {error}"
    except Exception:
        return traceback.format_exc()
    return ""


def _hung(signum: int, frame: FrameType | None) -> None:
    raise HungError


def run(format_: str, first: int, count: int) -> int:
    """Run the cases of a format, and return how many failed."""
    failures: collections.Counter[str] = collections.Counter()
    signal.signal(signal.SIGALRM, _hung)
    with tempfile.TemporaryDirectory() as temporary:
        file = dataset_of(format_, Path(temporary))
        data = file.parent if file.parent.name == "data" else file.parent.parent
        good = file.read_bytes()
        assert not fault(data), fault(data)
        for number in range(first, first + count):
            damaged = mutate(good, random.Random(f"{format_} {number}"), good)
            if file.suffix == ".yaml":  # else "/" and ".." would be walked, as the file then says
                damaged = damaged.replace(b"/", b"").replace(b"..", b"")
            file.write_bytes(damaged)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
            found = fault(data)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if found:
                failures[found.splitlines()[-1][:100]] += 1
                print(f"{format_} {number}: {found}", flush=True)
    print(f"{format_}: {count:,} cases, {sum(failures.values())} failed", flush=True)
    return sum(failures.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", help=f"of {', '.join(FILES)}; all by default")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, resource.RLIM_INFINITY))
    return min(sum(run(each, arguments.first, arguments.count) for each in arguments.formats or FILES), 1)


if __name__ == "__main__":
    sys.exit(main())
