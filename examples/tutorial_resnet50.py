"""The ResNet-50 that the article "ResNet" builds layer by layer in Keras, here from its specification.

    resnets data get shapes shapes
    python examples/tutorial_resnet50.py shapes/train --side 64 --epochs 5

Its stem has no padding, all its convolutions have a bias, and the head takes the maximum over all positions. Without a folder,
the layer table is printed for 1000 classes and images of 224 x 224, as in the article: 25,636,712 parameters.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import resnets
import resnets.keras  # before Keras: it selects the torch backend unless another was chosen

# isort: split
import keras
from image_folder import split_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="one folder of images per class; none: the table only")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=224)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    train, validation = split_folder(args.folder, args.side, args.batch) if args.folder else (None, None)
    num_classes = len(train.class_names) if train else 1000
    spec = resnets.get_spec("tutorial_resnet50", num_classes=num_classes)
    model = resnets.keras.from_spec(spec, input_shape=(args.side, args.side, 3))
    model.summary()
    if train is None:
        return
    train.transform = validation.transform = keras.layers.Rescaling(1 / 255)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # from_spec returns logits
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=args.epochs, verbose=2)


if __name__ == "__main__":
    main()
