"""The job of the article "Exploring ResNet50": a frozen Keras ResNet50, a dense layer trained on it, 10 epochs.

Changed only where it does not run: `lr` is `learning_rate`, and the labels are one-hot, as its loss wants them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

folder, weights, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
splits = [
    keras.utils.image_dataset_from_directory(
        folder, validation_split=0.2, subset=subset, seed=123, label_mode="categorical", image_size=(180, 180),
        batch_size=32, verbose=False,
    )
    for subset in ("training", "validation")
]  # fmt: skip
backbone = keras.applications.ResNet50(include_top=False, input_shape=(180, 180, 3), pooling="avg", weights=weights)
for layer in backbone.layers:
    layer.trainable = False
model = keras.Sequential(
    [backbone, keras.layers.Flatten(), keras.layers.Dense(512, "relu"), keras.layers.Dense(5, "softmax")]
)
model.compile(keras.optimizers.Adam(learning_rate=0.001), "categorical_crossentropy", metrics=["accuracy"])
history = model.fit(splits[0], validation_data=splits[1], epochs=epochs, verbose=0)
accuracies = history.history["val_accuracy"]
report(1, None, accuracy=accuracies[-1], best_accuracy=max(accuracies))
