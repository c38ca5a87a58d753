"""The preprocessing that a recipe describes."""

from dataclasses import replace

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.recipes.recipe import Recipe


def input_preprocess(recipe: Recipe, parent: Preprocess | None = None) -> Preprocess:
    """Return the preprocessing of the recipe, without the statistics that are computed from the training images.

    `parent` is the preprocessing of the given weights; `data.normalize=weights` takes its normalization.
    """
    section = recipe.data
    side = section.imgsz or 0
    preprocess = Preprocess(
        size=(side, side),
        resize=section.resize,
        resize_to=max(round(side / section.crop_fraction), side) if section.resize == "shorter" else None,
        antialias=section.antialias,
    )
    if section.normalize == "weights":
        if parent is None:
            raise UserError("`data.normalize=weights` needs `weights`; without them use imagenet or channel.")
        model = parent.with_size(side)
    elif section.normalize in ("caffe", "tf"):
        model = Preprocess.caffe(side) if section.normalize == "caffe" else Preprocess.tf(side)
    elif section.normalize == "raw":
        model = Preprocess(scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    else:
        return preprocess
    return replace(preprocess, color=model.color, scale=model.scale, mean=model.mean, std=model.std)
