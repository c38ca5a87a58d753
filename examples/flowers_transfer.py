"""Transfer learning on photos of flowers: two dense layers trained on the pooled features of a frozen ResNet-50.

    python examples/flowers_transfer.py flower_photos --weights resnet50_notop.weights.h5

This is a widely copied tutorial for Keras with `resnets.keras.ResNet50` instead of that of keras.applications. The folder
has one folder of images per class; the tutorial's is flower_photos of TensorFlow's example images. The weights are a
local file: of Keras without its top, or a checkpoint of `keras_resnet50`; without one the backbone has random weights.

Corrections to the tutorial: Adam's argument is `learning_rate`, integer labels need the sparse loss, the key of the validation
accuracy in the history is `val_accuracy`, the size of the head is the number of classes in the folder, the class names and the
image used at the end exist, and that image is read as RGB like all others.

The tutorial passes raw pixels to the network, although these weights were trained on BGR with a mean subtracted.
`--preprocess` does what they expect.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files, no window
import matplotlib.pyplot as plt

import resnets.keras  # before Keras: it selects the torch backend unless another was chosen

# isort: split
import keras
from image_folder import Images, load_image, split_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, help="a file; random weights without one")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=180)
    parser.add_argument("--preprocess", action="store_true", help="preprocess the images as the weights expect")
    parser.add_argument("--out", type=Path, default=Path("flowers"), help="folder for the plots and the model")
    return parser.parse_args()


def build_model(num_classes: int, side: int, weights: Path | None) -> keras.Model:
    backbone = resnets.keras.ResNet50(include_top=False, input_shape=(side, side, 3), pooling="avg", weights=weights)
    for layer in backbone.layers:
        layer.trainable = False
    model = keras.Sequential([backbone, keras.layers.Flatten()])
    model.add(keras.layers.Dense(512, activation="relu"))
    model.add(keras.layers.Dense(num_classes, activation="softmax"))
    return model


def show_samples(images: Images, path: Path) -> None:
    plt.figure(figsize=(10, 10))
    for position, index in enumerate(images.order[:6], start=1):
        plt.subplot(3, 3, position)
        plt.imshow(load_image(images.paths[index], images.side).astype("uint8"))
        plt.title(images.class_names[images.labels[index]])
        plt.axis("off")
    plt.savefig(path)
    plt.close()


def show_accuracy(history: keras.callbacks.History, path: Path) -> None:
    plt.plot(history.history["accuracy"])
    plt.plot(history.history["val_accuracy"])
    plt.grid()
    plt.title("Accuracy of the model")
    plt.ylabel("accuracy")
    plt.xlabel("epoch")
    plt.legend(["train", "validation"])
    plt.savefig(path)
    plt.close()


def main() -> None:
    args = parse_args()
    train, validation = split_folder(args.folder, args.side, args.batch)
    args.out.mkdir(parents=True, exist_ok=True)
    show_samples(train, args.out / "samples.png")
    if args.preprocess:
        train.transform = validation.transform = resnets.keras.resnet.preprocess_input

    model = build_model(len(train.class_names), args.side, args.weights)
    adam = keras.optimizers.Adam(learning_rate=0.001)
    model.compile(optimizer=adam, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(train, validation_data=validation, epochs=args.epochs, verbose=2)
    show_accuracy(history, args.out / "accuracy.png")
    model.save(args.out / "flowers.keras")

    pixels, labels = validation[0]
    best = model.predict(pixels[:1], verbose=0).argmax()
    print(f"{validation.paths[0]}: predicted {train.class_names[best]}, labeled {train.class_names[labels[0]]}")


if __name__ == "__main__":
    main()
