"""Write the split of a folder by Keras with `validation_split=0.2, seed=123` to a file, so that others train on the same images.

python benchmarks/keras_split.py FOLDER OUT.csv
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

folder, out = sys.argv[1:3]
with Path(out).open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "label", "split"])
    for split, subset in (("train", "training"), ("val", "validation")):
        images = keras.utils.image_dataset_from_directory(
            folder, validation_split=0.2, subset=subset, seed=123, image_size=(180, 180), batch_size=32, verbose=False
        )
        for path in images.file_paths:
            table.writerow([str(Path(path).resolve()), Path(path).parent.name, split])
