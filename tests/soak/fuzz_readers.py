"""Feed damaged and invented files to the readers of `resnets.weights.readers.read_any`.

    python tests/soak/fuzz_readers.py pickle safetensors --count 10000
    python tests/soak/fuzz_readers.py h5 --count 5000 --first 5000

Half of the cases are real files with bytes changed, cut, moved or repeated (inside a zip archive, too, which is then
sealed again with right checksums). They are made from the reader's name and their number, so one can be repeated with
`--first N --count 1`. The other half hypothesis invents from the parts of such files. A case is passed when
the reader gives tensors that can be copied, or refuses with one line that names the path, in less than `PATIENCE`
seconds and within `MEMORY` more bytes of addresses. All else is printed, and the exit code is 1.

Files that are no safetensors are read in a process of their own each, as in earnest, only that it is forked from one that has
torch and h5py ready.
"""

from __future__ import annotations

import argparse
import collections
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from forked_reader import Forked

PATIENCE = 20  # seconds; a real small file takes 0.01
MEMORY = 2 * 2**30  # bytes
READERS = ("pickle", "safetensors", "h5", "keras")


def seeds(reader: str, folder: Path) -> list[bytes]:
    """Small real files, written by the libraries themselves."""
    makers: dict[str, Callable[[Path], Iterator[Path]]] = {"pickle": _torch_files, "safetensors": _safetensors_files,
                                                           "h5": _h5_files, "keras": _keras_files}  # fmt: skip
    return [path.read_bytes() for path in makers[reader](folder)]


def _state() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)).state_dict()


def _torch_files(folder: Path) -> Iterator[Path]:
    import torch

    for name, content in (("bare", _state()), ("wrapped", {"state_dict": _state(), "epoch": 3, "best": 0.5})):
        for zipped in (True, False):
            path = folder / f"{name}{zipped}.pth"
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            yield path


def _safetensors_files(folder: Path) -> Iterator[Path]:
    import safetensors.torch

    path = folder / "seed.safetensors"
    safetensors.torch.save_file(_state(), path, metadata={"format": "pt"})
    yield path


def _keras_model() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    x = keras.layers.Dense(5, name="predictions")(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x)


def _h5_files(folder: Path) -> Iterator[Path]:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    model = _keras_model()
    model.save(folder / "full.h5")
    model.save_weights(folder / "three.weights.h5")
    with h5py.File(folder / "legacy.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    with h5py.File(folder / "packed.h5", "w") as file:
        for index in range(4):
            file.create_dataset(
                f"layers/conv/vars/{index}", data=[[index / 3] * 64] * 8, compression="gzip", shuffle=True
            )
    for name in ("full.h5", "three.weights.h5", "legacy.h5", "packed.h5"):
        yield folder / name


def _keras_files(folder: Path) -> Iterator[Path]:
    path = folder / "seed.keras"
    _keras_model().save(path)
    yield path


class Verdicts:
    """What became of the cases so far."""

    def __init__(self, folder: Path, reader: str) -> None:
        self.path = folder / f"case.{reader}"
        self.tally: collections.Counter[str] = collections.Counter()
        self.findings: list[str] = []
        self.slowest = (0.0, "")

    def judge(self, label: str, data: bytes) -> None:
        """Read `data` and count how it went."""
        from resnets.errors import UserError
        from resnets.weights.readers import read_any

        self.path.write_bytes(data)
        begun = time.perf_counter()
        signal.alarm(PATIENCE)
        try:
            found = read_any.read(self.path)
            for tensor in found.tensors.values():
                tensor.clone()
            self.tally["read"] += 1
        except UserError as error:
            self.tally["refused"] += 1
            if str(self.path) not in str(error) or "\n" in str(error) or len(str(error)) > 600:
                self._find(label, f"a message that is not one line with the path: {str(error)[:300]!r}")
        except BaseException as error:
            self._find(label, f"{type(error).__name__}: {str(error)[:300]}")
        finally:
            signal.alarm(0)
        self.slowest = max(self.slowest, (time.perf_counter() - begun, label))

    def _find(self, label: str, what: str) -> None:
        self.findings.append(f"{label}: {what}")
        print(f"FINDING {self.findings[-1]}", flush=True)


def fork() -> type[Forked]:
    """From now on files are read by forked processes."""
    from resnets.weights.readers import sandbox

    sandbox._run = Forked.run  # type: ignore[assignment]
    return Forked


def limit() -> None:
    """Limit this process to `MEMORY` more addresses, and cases to `PATIENCE`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGALRM, _too_slow)


def _too_slow(*_: Any) -> None:
    raise TimeoutError(f"more than {PATIENCE} s")


def run(reader: str, first: int, count: int, files: list[bytes], folder: Path) -> Verdicts:
    """`count` cases from number `first` on, half of them changed from `files` and half invented."""
    import inventions
    import mutations

    make = mutations.make(reader, files)
    verdicts = Verdicts(folder, reader)
    for number in range(first, first + count, 2):
        verdicts.judge(f"{reader}/{number}", make(number))
    inventions.run(reader, first, count // 2, files, verdicts.judge)
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="+", choices=READERS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument(
        "--whole", action="store_true", help="start a new process for each file (a hundred times slower)"
    )
    given = parser.parse_args()
    if not given.whole:
        fork().start()  # its imports take longer than a case may
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {reader: seeds(reader, folder) for reader in given.readers}  # imports what the limit must not count
        limit()
        failed = [
            reader for reader in given.readers if not report(reader, given.first, given.count, files[reader], folder)
        ]
    return 1 if failed else 0


def report(reader: str, first: int, count: int, files: list[bytes], folder: Path) -> bool:
    """Run the cases, print what became of them, and give whether all were passed."""
    begun = time.perf_counter()
    Forked.tally.clear()
    verdicts = run(reader, first, count, files, folder)
    seconds, label = verdicts.slowest
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{reader}: {dict(verdicts.tally)}; {len(verdicts.findings)} findings; slowest {seconds:.2f} s ({label}); "
          f"{largest / 1024:.0f} MiB at most; {time.perf_counter() - begun:.0f} s in all")  # fmt: skip
    if Forked.tally:
        print(f"  processes of their own: {dict(Forked.tally)}; {Forked.largest / 1024:.0f} MiB at most")
    return not verdicts.findings


if __name__ == "__main__":
    sys.exit(main())
