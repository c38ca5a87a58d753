"""Train only a linear classifier on the pooled features of given weights: how good the features are for new classes.

    resnets train IMAGES --recipe linear_probe --weights runs/earlier

The backbone is frozen, its BN in eval mode, and images are not augmented. So it sees each image once, and an epoch takes a
moment. The preprocessing is that of the weights.
"""

from resnets.recipes.recipe import Augment, Data, Freeze, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: the network of the weights."""
    return Recipe(
        name="linear_probe",
        model=Model(name=model),
        data=Data(normalize="weights"),
        augment=Augment(crop="none", flip=0.0),
        optim=Optim(name="adamw", lr=1e-3, lr_batch=32, weight_decay=0.01, decay_norm_and_bias=False),
        schedule=Schedule(name="cosine"),
        freeze=Freeze(layers="backbone"),
        stop=Stop(epochs=30),
    )
