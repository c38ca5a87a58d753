"""Mix the images and targets of a batch where the recipe says so (mixup, CutMix)."""

from torch import Tensor

from resnets.data.loading.batch import Batch
from resnets.recipes.recipe import Recipe


def mix_batch(batch: Batch, targets: Tensor, recipe: Recipe) -> Batch:
    """The batch with `targets`, float32 (B, K), in place of its own, both mixed; the random numbers depend on epoch and step."""
    assert isinstance(batch.images, Tensor)
    section, images = recipe.augment, batch.images
    if section.mixup_alpha or section.cutmix_alpha:
        from resnets.data.loading import augmentation  # here, since it imports all of torchvision

        with augmentation.fork_seed(recipe.seed, batch.epoch, batch.step, "mix"):
            images, targets = augmentation.mixup_cutmix(
                images, targets, mixup_alpha=section.mixup_alpha, cutmix_alpha=section.cutmix_alpha
            )
    return batch._replace(images=images, targets=targets)
