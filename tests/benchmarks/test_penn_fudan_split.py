import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image
from tests.forked_processes import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "penn_fudan_split.py"


def test_val_are_the_fifty_images_with_the_smallest_hash(tmp_path: Path) -> None:
    images, masks = tmp_path / "PennFudanPed" / "PNGImages", tmp_path / "PennFudanPed" / "PedMasks"
    images.mkdir(parents=True)
    masks.mkdir()
    for number in range(53):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(images / f"{number}.png")
        mask = np.zeros((8, 8), np.uint8)
        mask[2:6, 2:6] = 1
        Image.fromarray(mask).save(masks / f"{number}_mask.png")
    run_script(tmp_path / "log", SCRIPT, str(images.parent), str(tmp_path / "split.csv"))
    with open(tmp_path / "split.csv", newline="") as file:
        splits = {Path(row["path"]).name: row["split"] for row in csv.DictReader(file)}
    ordered = sorted(images.iterdir(), key=lambda path: hashlib.sha256(path.read_bytes()).hexdigest())
    assert {name for name, split in splits.items() if split == "val"} == {path.name for path in ordered[:50]}
    assert {name for name, split in splits.items() if split == "train"} == {path.name for path in ordered[50:]}
