"""He et al. 2015, appendix A: Faster R-CNN on COCO with ResNet-101, by 28 % better relative to VGG-16.

    resnets train coco --recipe he2015_coco --weights resnet101_v1.safetensors
    resnets train coco --recipe he2015_coco --model keras_resnet101 --weights imagenet

Appendix A, "MS COCO": regions are pooled before the last stage, 300 of them in evaluation; weights of ImageNet, with
fixed batch norms; 16 images a step; 240,000 steps at a learning rate of 0.001 and 80,000 at 0.0001. Ren et al. 2015
(Faster R-CNN, arXiv 1506.01497v3), which it follows: momentum 0.9, weight decay 5e-4 and 256 anchors an image
(section 3.1.3), a shorter side of 600 pixels (3.3), anchors of 64 to 512 pixels on COCO (4.2). Their program
(ShaoqingRen/faster_rcnn, functions/fast_rcnn/fast_rcnn_config.m): a longer side of up to 1,000 pixels, 128 regions of
two images, flips, and non-maximum suppression at 0.3 in evaluation.

What differs: proposals and detection are trained together ("approximate joint training" of Ren et al.) and not one
after the other, both with 16 images, where the paper has 8 for the proposals; RoIAlign pools the regions instead of
RoI max pooling; anchors across the border of an image are trained, too; the losses are weighted as torchvision does.
Regions of the background are all with an IoU below 0.5, where fast_rcnn_config.m has 0.1 to 0.5. The convolution of
the proposals keeps the 1,024 channels of the map; that of Ren et al. on VGG-16 has 512.
The paper does not say which layers keep their weights; here none does. It trains on train2014 and evaluates on
val2014. Keras' file is of the same network. Without `weights` the norms are trained. Nothing here has been run on
COCO.
"""

from resnets.recipes.recipe import Augment, Data, Freeze, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for the backbone `model`; None: resnet101_v1."""
    return Recipe(
        name="he2015_coco",
        model=Model(name=f"fasterrcnn_c4_{model or 'resnet101_v1'}"),
        data=Data(imgsz=1000, resize="fit", batch=16),
        augment=Augment(crop="none", flip=0.5),
        optim=Optim(name="sgd", lr=1e-3, momentum=0.9, weight_decay=5e-4),
        schedule=Schedule(name="step", milestones_steps=(240_000,), factor=0.1),
        freeze=Freeze(norm="frozen"),
        stop=Stop(steps=320_000),
    )
