"""CIFAR-10 with what lecture notes on ResNet-50 import: Adam, L2, augmentation, a schedule, a plateau rule, the best kept.

    resnets train cifar10 --recipe notes_cifar

Source: the notes "Residual Networks (ResNet)", section "Implementation of ResNet50 Using Keras" (no author or address is
known). They import these classes from Keras and leave their numbers out; the numbers are those of examples/cifar10_resnet.py
of Keras 2, which imports the same: Adam at 1e-3, times 0.1 after epochs 80, 120 and 160 and 0.5 after 180; times
sqrt(0.1) after 5 epochs without a lower validation loss, down to 0.5e-6; L2 of 1e-4 on kernels (in Keras's loss, so a
decay of 2e-4 here); shifts by a tenth of the side and flips; the mean image subtracted; batch 32, 200 epochs. The
projections follow the notes' blocks.

Keras sets the scheduled rate again in each epoch and so forgets the plateau rule's; here the two multiply. A shift is
by whole pixels, with the edge repeated.
"""

from resnets.recipes.recipe import Augment, Data, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: cifar_resnet20 with projection shortcuts (option B)."""
    return Recipe(
        name="notes_cifar",
        model=Model(name=model or "cifar_resnet20", shortcut="B" if model is None else None),
        data=Data(imgsz=32, resize="stretch", crop_fraction=1.0, normalize="pixel", batch=32),
        augment=Augment(crop="pad", pad_pixels=3, pad_mode="edge", flip=0.5),
        optim=Optim(name="adam", lr=1e-3, weight_decay=2e-4, decay_norm_and_bias=False),
        schedule=Schedule(
            name="step",
            milestones_epochs=(81.0, 121.0, 161.0, 181.0),
            factors=(0.1, 0.1, 0.1, 0.5),
            plateau_epochs=5,
            plateau_factor=0.1**0.5,
            plateau_min_factor=0.5e-3,
        ),
        stop=Stop(epochs=200),
    )
