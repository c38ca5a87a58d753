"""Training with Keras' `fit` on TensorFlow: ResNet50 at 224, SGD, flips; the second epoch is timed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

folder, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dataset = keras.utils.image_dataset_from_directory(folder, image_size=(224, 224), batch_size=batch, verbose=False)
preprocess = keras.applications.resnet50.preprocess_input
dataset = dataset.map(lambda images, labels: (preprocess(images), labels)).repeat().prefetch(2)
model = keras.applications.ResNet50(weights=None, classes=5)
model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
start = time.perf_counter()
model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
report(steps * batch, time.perf_counter() - start)
