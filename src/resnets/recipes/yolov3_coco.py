"""The training of YOLOv3 on COCO (Redmon and Farhadi 2018) as darknet does it, with a residual network of the zoo.

    resnets train coco --recipe yolov3_coco --weights imagenet

Source: pjreddie/darknet. cfg/yolov3.cfg: 64 images a step in 16 parts; SGD with momentum 0.9 and a weight decay of
5e-4; a learning rate of 0.001, over the first 1,000 steps times (step / 1000)^4 (the power is in src/parser.c), a
tenth from step 400,000 and a hundredth from step 450,000 on; 500,200 steps; the nine anchors; boxes above an IoU of
0.7 with an object are ignored. src/convolutional_layer.c: convolutions alone decay, and neither biases nor norms.
examples/detector.c: the rate is in proportion to the number of images; sizes of 320 to 608 pixels, another one every
ten steps. src/data.c: flips; the whole image.

What differs: the backbone is a ResNet-50 and not Darknet-53, and its input is normalized. An evaluation sees the
images with a longer side of 416 pixels and no gray around them; the file has 608 (`width`, `height`), and gray.
Saturation, brightness and contrast change by factors of 0.5 to 1.5; in darknet, saturation and exposure by 1/1.5 to
1.5 and the hue by 0.1. The aspect ratio (`jitter=.3`) and the place of an image in front of the gray do not change.
The last 200 steps do not have 608 pixels. Nothing here has been run on COCO.
"""

from resnets.recipes.recipe import Augment, Data, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for the backbone `model`; None: resnet50."""
    return Recipe(
        name="yolov3_coco",
        model=Model(name=f"yolov3_{model or 'resnet50'}"),
        data=Data(imgsz=416, resize="fit", batch=64),
        augment=Augment(crop="none", flip=0.5, jitter=0.5),
        optim=Optim(
            name="sgd", lr=1e-3, lr_batch=64, momentum=0.9, weight_decay=5e-4, decay_norm_and_bias=False, accumulate=16
        ),
        schedule=Schedule(
            name="step",
            milestones_steps=(400_000, 450_000),
            factor=0.1,
            warmup_steps=1000,
            warmup_factor=0.0,
            warmup_power=4.0,
        ),
        stop=Stop(steps=500_200),
    )
