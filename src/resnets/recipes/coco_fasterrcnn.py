"""The training of torchvision's Faster R-CNN and Mask R-CNN on COCO, which gave their weights `COCO_V1`.

    resnets train coco --recipe coco_fasterrcnn --weights imagenet
    resnets train coco --recipe coco_fasterrcnn --model maskrcnn_resnet50 --weights imagenet

Source: pytorch/vision. references/detection/train.py: 26 epochs of 8 x 2 images, SGD with a learning rate of 0.02 for
16 images, in proportion to their number, momentum 0.9, weight decay 1e-4, a tenth of the rate from epochs 16 and 22
on, flips and no other augmentation. references/detection/engine.py: the rate rises on a line from 1/1000 over 1,000
steps. torchvision/models/detection/faster_rcnn.py: a shorter side of 800 pixels, a longer one of up to 1,333; anchors
of 32 to 512 pixels; with weights of the backbone, its norms, stem and first stage are frozen
(`trainable_backbone_layers=3`), and without `weights` nothing is.

What differs: batches are not grouped by aspect ratio (`--aspect-ratio-group-factor 3`), since images of unlike sizes
are computed in groups anyway; images without objects are trained on, which torchvision leaves out. Nothing here has
been run on COCO.
"""

from resnets.recipes.recipe import Augment, Data, Freeze, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for the backbone `model`; None: resnet50."""
    return Recipe(
        name="coco_fasterrcnn",
        model=Model(name=f"fasterrcnn_{model or 'resnet50'}"),
        data=Data(imgsz=1333, resize="fit", batch=16),
        augment=Augment(crop="none", flip=0.5),
        optim=Optim(name="sgd", lr=0.02, lr_batch=16, momentum=0.9, weight_decay=1e-4),
        schedule=Schedule(
            name="step", milestones_epochs=(16.0, 22.0), factor=0.1, warmup_steps=1000, warmup_factor=1e-3
        ),
        freeze=Freeze(layers="1", norm="frozen"),
        stop=Stop(epochs=26),
    )
