"""He et al. 2015, section 3.4: the ImageNet networks, to the letter.

    resnets train imagenet --recipe he2015_imagenet --model resnet50_v1

The shorter side drawn from 256 to 480, a random 224 crop and a random flip, the mean image of the training set
subtracted, AlexNet's color augmentation (standard deviation 0.1 along the principal colors of ImageNet); He
initialization, no dropout; SGD with momentum 0.9, batch 256, weight decay 1e-4 on every tensor, learning rate 0.1
divided by 10 when the validation loss stays for 5 epochs (the paper says "when the error plateaus", without a
number), 600,000 steps.

The mean image is computed over the training images as evaluation sees them (shorter side 256, center 224), and
subtracted from each crop, as AlexNet's programs did. Nothing here has been run on ImageNet; the paper's figures stand
in `resnets models`.
"""

from resnets.recipes.recipe import Augment, Data, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: resnet50_v1."""
    return Recipe(
        name="he2015_imagenet",
        model=Model(name=model or "resnet50_v1"),
        data=Data(imgsz=224, resize="shorter", crop_fraction=0.875, normalize="pixel", batch=256),
        augment=Augment(crop="shorter_side", shorter_side=(256, 480), flip=0.5, pca_std=0.1),
        optim=Optim(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=Schedule(name="constant", plateau_epochs=5, plateau_factor=0.1, plateau_min_factor=1e-3),
        stop=Stop(steps=600_000),
    )
