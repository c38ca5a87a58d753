"""A report of ten thousand classes fits into the memory of a small machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.in_soak import only_in_soak

PROGRAM = """
import resource, sys
import numpy as np
from resnets import atomic_write
from resnets.tasks.classification.report import draw_report
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

count, classes = 200, 10_000
random = np.random.default_rng(0)
logits = random.normal(0, 1, (count, classes)).astype(np.float32)
names = tuple(f"class {k}" for k in range(classes))
made = Predictions(tuple(f"{k}.jpg" for k in range(count)), random.integers(0, classes, count), logits, names)
before = peak()
metrics.summarize(made)
atomic_write.write_csv(sys.argv[1] + "/per_class.csv", metrics.per_class(made))
made.write_csv(sys.argv[1] + "/predictions.csv")
draw_report.draw_all(sys.argv[1], made)
print((peak() - before) / 2**20)
"""


@only_in_soak("25 s")
def test_the_memory_of_a_report_follows_the_images_and_not_the_square_of_the_classes(tmp_path: Path) -> None:
    # A table of 10,000 x 10,000 takes 400 MB for each 4 bytes of a cell, and the report once took 40 bytes a cell.
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists()
    assert float(done.stdout) < 390
