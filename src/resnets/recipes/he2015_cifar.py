"""He et al. 2015, section 4.2: the CIFAR-10 networks, to the letter.

    resnets train cifar10 --recipe he2015_cifar --model cifar_resnet20
    resnets evaluate runs/RUN/weights/last.safetensors cifar10

Batch 128, SGD with momentum 0.9, weight decay 1e-4 on every tensor, learning rate 0.1 divided by 10 after 32,000 and
48,000 steps, 64,000 steps in all; the mean image of the training set subtracted, then 4 zero pixels on each side, a
random 32x32 crop and a random flip; He initialization, no dropout; the single original view at test time. Nets of
110 and more layers begin at 0.01 until the training error is below 80 % (here: of the last 100 batches).

The final networks of the paper are trained on all 50,000 training images, so no image is held out;
`--val-fraction 0.1` is the 45,000/5,000 split on which its authors chose the schedule.

One thing differs: the paper's batch lay on two GPUs, so that its BN saw 64 images where ours sees 128.
"""

import re

from resnets.recipes.recipe import Augment, Data, Model, Optim, Recipe, Schedule, Stop

WARMUP_FROM_LAYERS = 110


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: cifar_resnet20."""
    name = model or "cifar_resnet20"
    layers = re.search(r"(\d+)$", name)
    deep = layers is not None and int(layers[1]) >= WARMUP_FROM_LAYERS
    return Recipe(
        name="he2015_cifar",
        model=Model(name=name),
        data=Data(imgsz=32, resize="stretch", crop_fraction=1.0, normalize="pixel", batch=128, val_fraction=0.0),
        augment=Augment(crop="pad", pad_pixels=4, pad_mode="zeros", flip=0.5),
        optim=Optim(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=Schedule(
            name="step",
            milestones_steps=(32_000, 48_000),
            factor=0.1,
            warmup_factor=0.1,
            warmup_until_error=0.8 if deep else None,
        ),
        stop=Stop(steps=64_000),
    )
