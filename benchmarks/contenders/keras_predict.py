"""A folder through Keras' ResNet50 on TensorFlow: image_dataset_from_directory and `predict`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

dataset = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(224, 224), batch_size=32, shuffle=False, verbose=False
)
preprocess = keras.applications.resnet50.preprocess_input
dataset = dataset.map(lambda images, labels: preprocess(images)).prefetch(2)
model = keras.applications.ResNet50(weights=None, classes=5)
report(len(model.predict(dataset, verbose=0)), None)
