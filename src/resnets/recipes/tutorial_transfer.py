"""Transfer learning on flowers as in a Keras article: a frozen ResNet-50 under a new head of two layers.

    resnets train flower_photos --recipe tutorial_transfer --weights keras_resnet50.safetensors

Source: "Exploring ResNet50: An In-Depth Look at the Model Architecture and Code Implementation" (no author or address is
known). `keras_resnet50` without its top, frozen, average pooling, Dense 512 with ReLU, Dense over the classes with softmax;
Adam at 1e-3, images stretched to 180x180, batches of 32, a fifth held out with seed 123, 10 epochs, no
augmentation.

The article feeds raw pixels 0..255 in RGB order, although the weights were trained on BGR pixels with the mean
subtracted; so does this recipe, to be the same job. `--set data.normalize=caffe` gives the weights what they expect.
This recipe differs in two points: Adam's epsilon is torch's 1e-8 (Keras 1e-7), and the split is stratified and by content.
"""

from resnets.recipes.recipe import Augment, Data, Freeze, Model, Optim, Recipe, Schedule, Stop


def recipe(model: str | None = None) -> Recipe:
    """Return the recipe for `model`; None: keras_resnet50."""
    return Recipe(
        name="tutorial_transfer",
        model=Model(name=model or "keras_resnet50", head_hidden_dim=512, pool="avg"),
        data=Data(
            imgsz=180,
            resize="stretch",
            crop_fraction=1.0,
            normalize="raw",
            antialias=False,
            val_fraction=0.2,
            split_seed=123,
            batch=32,
        ),
        augment=Augment(crop="none", flip=0.0),
        optim=Optim(name="adam", lr=1e-3, weight_decay=0.0),
        schedule=Schedule(name="constant"),
        freeze=Freeze(layers="backbone"),
        stop=Stop(epochs=10),
    )
