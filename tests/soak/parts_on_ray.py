"""Kill an actor and then the driver of predictions by Ray, run them again, and compare all rows with those of one process.

    python tests/soak/parts_on_ray.py

40 parts of 25 images, of which 20 cannot be read, are computed by two actors. One actor is killed with SIGKILL when 7 parts are
there, the driver with all its processes when 15 are there; then the same command is run again. Rows must be equal to those of one
process in the name of their part, path, hash, all labels and error, and in all probabilities within 1e-5. Every path is there
once, no half-written file is left, and at most two parts are written again. The exit code is 1 when anything differs, and 0 with
a message where Ray is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS, PER_PART, ACTORS = 40, 25, 2
UNREADABLE = 20
KILL_ACTOR, KILL_DRIVER = 7, 15  # when so many parts are there
MOST_REPEATED = 2  # parts that were there and are written again
PATIENCE_SECONDS = 900
TOLERANCE = 1e-5
MODEL = "cifar_resnet20.cifar10"


def drive(images: str, folder: str) -> None:
    """The driver: a cluster of its own on this machine, and the job."""
    import ray

    import resnets
    from resnets.disable_telemetry import telemetry_disabled

    with telemetry_disabled():
        # More CPUs than there are, so that tasks of Ray itself do not wait for actors.
        ray.init(num_cpus=6, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    found = resnets.predict_to_parquet(
        MODEL,
        images,
        folder,
        resume=True,
        ray="auto",
        ray_actors=ACTORS,
        images_per_part=PER_PART,
        workers=1,
        device="cpu",
    )
    print(f"computed {found.computed}", flush=True)


def start(images: Path, folder: Path, log: Path, home: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "HOME": str(home),  # Ray writes a token into it
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_TMPDIR": str(home / "ray"),
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(Path(__file__).resolve().parents[2] / "src"), os.environ.get("PYTHONPATH")))
        ),
    }
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, __file__, "--drive", str(images), str(folder)],
            env=environment, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip


def parts_in(folder: Path) -> dict[str, tuple[int, int]]:
    """The i-node and the time of each part by name: others mean that it was written again."""
    found = {path.name: path.stat() for path in folder.glob("part-*.parquet")}
    return {name: (each.st_ino, each.st_mtime_ns) for name, each in found.items()}


def wait_for(count: int, folder: Path, driver: subprocess.Popen[str], log: Path) -> None:
    last = time.monotonic() + PATIENCE_SECONDS
    while len(parts_in(folder)) < count:
        if driver.poll() is not None or time.monotonic() > last:
            raise SystemExit(f"{len(parts_in(folder))} parts after {driver.poll()}:\n{log.read_text()}")
        time.sleep(0.01)


def processes_of(home: Path) -> list[int]:
    """The processes of the cluster: those with the temporary home in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if f"HOME={home}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it has ended
                continue
    return found


def actors_of(home: Path) -> list[int]:
    """The processes with a model, by the title that Ray gives them."""
    return [pid for pid in processes_of(home) if b"ray::MapWorker" in _title(pid)]


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def make_images(folder: Path) -> None:
    """Colored images of 32x32 pixels, in order, and files that are no images."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(PARTS * PER_PART):
        path = folder / f"{number:04d}.png"
        if number % (PARTS * PER_PART // UNREADABLE) == 3:
            path.write_bytes(b"no image" * (number % 2))
        else:
            small = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
            small.resize((32, 32), Image.Resampling.BICUBIC).save(path)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of all parts, each with the name of its part."""
    import pyarrow.parquet

    return [
        row | {"part": path.name}
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


def differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """The paths of the rows that differ."""
    if [(row["part"], row["path"]) for row in found] != [(row["part"], row["path"]) for row in expected]:
        return ["the paths"]
    return [row["path"] for row, other in zip(found, expected, strict=True) if not is_same(row, other)]


def is_same(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows are equal, with all probabilities within the tolerance."""
    exact = all(row[name] == other[name] for name in row if name not in ("probability", "top"))
    labels = [each["label"] for each in row["top"]] == [each["label"] for each in other["top"]]
    return (
        exact
        and labels
        and all(
            abs(mine - theirs) <= TOLERANCE
            for mine, theirs in zip(probabilities(row), probabilities(other), strict=True)
        )
    )


def probabilities(row: dict[str, Any]) -> list[float]:
    return [row["probability"] or 0.0, *(each["probability"] for each in row["top"])]


def soak(temporary: Path) -> int:
    import resnets
    from resnets.atomic_write import TEMPORARY_PREFIX
    from resnets.tasks.predict_parts import manifest

    images, folder, whole, home = (temporary / name for name in ("images", "parts", "whole", "home"))
    home.mkdir()
    make_images(images)
    resnets.predict_to_parquet(MODEL, images, whole, images_per_part=PER_PART, device="cpu")
    logs = [temporary / name for name in ("first", "second")]
    begin = time.monotonic()
    driver = start(images, folder, logs[0], home)
    wait_for(KILL_ACTOR, folder, driver, logs[0])
    victims = actors_of(home)
    before = parts_in(folder)
    os.kill(victims[0], signal.SIGKILL)
    print(f"{len(victims)} actors; one was killed when {len(parts_in(folder))} parts were there", flush=True)
    wait_for(KILL_DRIVER, folder, driver, logs[0])
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    for pid in processes_of(home):  # an actor may go on for a moment without its driver
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    before = parts_in(folder) | before
    print(f"the driver was killed when {len(before)} parts were there", flush=True)
    driver = start(images, folder, logs[1], home)
    if driver.wait(PATIENCE_SECONDS) != 0:
        raise SystemExit(logs[1].read_text())
    after = parts_in(folder)
    repeated = sum(after[name] != inode for name, inode in before.items())
    wrong = differences(rows_of(folder), rows_of(whole))
    left = [path.name for path in folder.glob(f"{TEMPORARY_PREFIX}*")]
    complete = manifest.read(folder) == manifest.read(whole)
    print(f"{logs[1].read_text().splitlines()[-1]} parts after {len(before)}; {repeated} of them were written again")
    print(
        f"{len(rows_of(folder)):,} rows, {len(wrong)} differ; {len(left)} half-written files; manifest the same: {complete}"
    )
    print(f"{time.monotonic() - begin:.0f} s")
    return int(bool(wrong or left or not complete or len(after) != PARTS or repeated > MOST_REPEATED))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        drive(*sys.argv[2:])
    elif importlib.util.find_spec("ray") is None:
        print("predictions by Ray were left out: Ray is not installed (pip install 'resnets[ray]')")
    else:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # Ray's sockets need a short path
            sys.exit(soak(Path(folder)))
