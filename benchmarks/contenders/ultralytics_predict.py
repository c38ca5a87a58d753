"""A folder through Ultralytics classify with its own resnet50: `YOLO(...).predict`, batches of 32."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Its settings go into the folder of the benchmarks, and it asks no server for anything.
os.environ["YOLO_CONFIG_DIR"] = sys.argv[2]
os.environ["YOLO_OFFLINE"] = "true"

import ultralytics

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

ultralytics.settings.update({"sync": False})
model = ultralytics.YOLO("yolov8-cls-resnet50.yaml", task="classify")
found = model.predict(f"{sys.argv[1]}/**/*.jpg", imgsz=224, batch=32, device="cpu", stream=True, verbose=False)
report(sum(1 for _ in found), None)
