"""A recipe whose training takes seconds."""

from dataclasses import replace

from resnets.recipes.recipe import Recipe


def tiny(recipe: Recipe) -> Recipe:
    """The recipe with a tiny network, small images, two epochs, no worker processes."""
    steps = None if recipe.stop.steps is None else min(recipe.stop.steps, 12)
    milestones = tuple(range(4, 4 + 4 * len(recipe.schedule.milestones_steps), 4))
    warmup_epochs = min(recipe.schedule.warmup_epochs, 0.5)
    warmup_steps = recipe.schedule.warmup_steps and min(recipe.schedule.warmup_steps, 2)
    schedule = replace(recipe.schedule, warmup_epochs=warmup_epochs, warmup_steps=warmup_steps)
    return replace(
        recipe,
        model=replace(recipe.model, name="tiny", stem=None, shortcut=None),
        data=replace(recipe.data, imgsz=32, batch=32, workers=0),
        augment=replace(recipe.augment, shorter_side=(32, 40)),
        schedule=replace(schedule, milestones_steps=milestones),
        freeze=replace(recipe.freeze, head_epochs=min(recipe.freeze.head_epochs, 1)),
        stop=replace(recipe.stop, epochs=2, steps=steps),
        speed=replace(recipe.speed, precision="fp32", device="cpu", threads=1),
    )
