"""Finetune the weights of another run or of a published network on new classes: the default with weights.

    resnets train IMAGES --weights runs/earlier/weights/best.safetensors

First the new head is trained alone while the backbone is frozen (its BN in eval mode), then the backbone, too, at a tenth of the
learning rate. BN of trained layers uses the statistics of the batch (`--set freeze.norm=eval` uses those of the weights
instead; `frozen` keeps its scale and shift as well).
"""

from resnets.recipes.recipe import Augment, Data, Ema, Freeze, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: the network of the weights."""
    return Recipe(
        name="finetune",
        model=Model(name=model),
        data=Data(normalize="weights"),
        augment=Augment(scale=(0.5, 1.0), jitter=0.2),
        optim=Optim(name="adamw", lr=1e-3, lr_batch=32, weight_decay=0.01, decay_norm_and_bias=False),
        schedule=Schedule(name="cosine", warmup_epochs=0.5),
        freeze=Freeze(head_epochs=2, backbone_lr_factor=0.1, norm="train"),
        ema=Ema(decay=0.99),
        stop=Stop(epochs=12),
    )
