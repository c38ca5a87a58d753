"""The two networks of the lecture notes "Residual Networks (ResNet)", trained as the imports of the notes suggest.

    resnets data get shapes shapes
    python examples/notes_resnet.py shapes/train --model notes_resnet50 --epochs 5

`notes_resnet50` is the notes' list of stages (bottlenecks, images of 64 x 64), `notes_basic_resnet` their code (blocks of
two 3x3 convolutions, images of 224 x 224).

The notes name Adam, L2, augmentation, a schedule, reduction on a plateau and a checkpoint, without values; those here are of
Keras' example for CIFAR-10, which has the same imports. Its schedule sets the learning rate again in every epoch and so undoes
the reduction on a plateau; here both lower the current rate. The best model is a file that `resnets weights convert` reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import resnets
import resnets.keras  # before Keras: it selects the torch backend unless another was chosen

# isort: split
import keras
from image_folder import split_folder

FACTORS = {81: 0.1, 121: 0.1, 161: 0.1, 181: 0.5}  # epoch, from 0 -> factor of the learning rate


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="one folder of images per class")
    parser.add_argument("--model", choices=["notes_resnet50", "notes_basic_resnet"], default="notes_resnet50")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("notes.keras"), help="file for the best model")
    return parser.parse_args()


def build_model(name: str, num_classes: int) -> keras.Model:
    """The network with L2 on the kernels of its convolutions and of its dense layer."""
    model = resnets.keras.from_spec(resnets.get_spec(name, num_classes=num_classes))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            layer.kernel_regularizer = keras.regularizers.L2(1e-4)  # stored in files of the model
            layer.kernel.regularizer = layer.kernel_regularizer  # added to the loss, since the layer is already built
    return model


def make_callbacks(best: Path) -> list[keras.callbacks.Callback]:
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * FACTORS.get(epoch, 1.0)),
        keras.callbacks.ReduceLROnPlateau(factor=0.1**0.5, patience=5, min_lr=0.5e-6),
        keras.callbacks.ModelCheckpoint(best, save_best_only=True),
    ]


def main() -> None:
    args = parse_args()
    side = resnets.get_spec(args.model).imgsz
    train, validation = split_folder(args.folder, side, args.batch)
    scale = keras.layers.Rescaling(1 / 255)
    flip = keras.layers.RandomFlip("horizontal")
    shift = keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest")
    train.transform = lambda images: shift(flip(scale(images), training=True), training=True)
    validation.transform = scale

    model = build_model(args.model, len(train.class_names))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),  # from_spec returns logits
        metrics=["accuracy"],
    )
    model.fit(train, validation_data=validation, epochs=args.epochs, callbacks=make_callbacks(args.out), verbose=2)


if __name__ == "__main__":
    main()
