"""Train a network from random weights on your images: the default without weights.

    resnets train IMAGES --model resnet18 --imgsz 128

SGD with Nesterov momentum, a short warm-up and a cosine; random resized crops, flips, weak color jitter, label smoothing,
and an average of the weights (EMA), which is validated and saved.
"""

from resnets.models import zoo
from resnets.recipes.recipe import Augment, Ema, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: resnet18."""
    name = model or "resnet18"
    # Residual branches that are zero at first allow a larger learning rate in the first steps.
    has_branches = zoo.find(name).spec.block == "residual"
    return Recipe(
        name="scratch",
        model=Model(name=name, zero_init_residual=has_branches or None),
        augment=Augment(scale=(0.35, 1.0), jitter=0.3, erase=0.1),
        optim=Optim(
            name="sgd", lr=0.04, lr_batch=32, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=False
        ),
        schedule=Schedule(name="cosine", warmup_epochs=3.0),
        ema=Ema(decay=0.998),
        stop=Stop(epochs=50),
    )
