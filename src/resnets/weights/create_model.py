"""`create_model`: a network, a detector or a segmenter by name, new or with weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.errors import UserError
from resnets.models import model_names, zoo
from resnets.models.backbone import Backbone, FeatureMaps
from resnets.models.dilation import with_output_stride
from resnets.models.resnet import ResNet
from resnets.progress import log
from resnets.weights import adapt, download_published, find_weights
from resnets.weights import checkpoint as checkpoints
from resnets.weights.hub import catalog, library_names


def create_model(
    name: str,
    *,
    weights: object = "none",
    num_classes: int | None = None,
    in_channels: int = 3,
    include_top: bool = True,
    pooling: str | None = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    output_stride: int | None = None,
    **overrides: Any,
) -> ResNet | Backbone | Any:
    """A network by name, such as `create_model("resnet50", num_classes=5)`, a detector such as "fasterrcnn_resnet50", or a
    segmenter such as "unet_resnet18".

    Args:
        name: a name that `list_models` returns.
        weights: "none" or None for a freshly initialized network; "imagenet", "DEFAULT" or True for the best published
            ones; "IMAGENET1K_V1" or a member of torchvision's enums; a name that `resnets weights list` prints, which may also
            be given as `name`; or the path of a checkpoint or run directory. Of a detector or a segmenter, those of a classifier,
            such as "imagenet", are for the backbone; "COCO_V1", "COCO_WITH_VOC_LABELS_V1" and, where there are such, "DEFAULT"
            and True are torchvision's for COCO.
        num_classes: number of outputs; 0 for pooled features. Of a detector, the number of classes of objects, without a
            background; of a segmenter, that of the classes of a pixel, with it. Where the weights have another number, the last
            layer is new.
        in_channels: channels of the image. For 1, the kernels of three channels are added; from 4 on, new kernels are zero.
        include_top: False leaves the head out, as in Keras Applications.
        pooling: without the head: None for feature maps (N, C, h, w), "avg" or "max" for pooled features (N, C).
        features_only: a network that returns a list of feature maps, `FeatureMaps`, as timm's argument of this name.
        out_indices: with `features_only`, of the maps: 0 is that before the stem's pooling, 1 that of the first stage, and so on;
            None for all.
        output_stride: of the last feature map, without head and pooling: the stages that would go above it are dilated. Of a
            segmenter, that of its settings.
        overrides: other fields of `ResNetSpec`, such as `drop_path_rate=0.2`, and of `DetectorSettings` or
            `SegmenterSettings`; not with weights.
            `in_chans` and `pretrained` are accepted as in timm.

    Returns:
        A network in training mode, or in evaluation mode if it has weights: images (N, in_channels, H, W), float, to logits
        (N, num_classes). A detector (`RegionDetector`, `YOLOv3`) returns a `DetectorOutput`, and a `Segmenter` logits (N,
        num_classes, H, W); both are in training mode if only their backbone has weights, and nothing of them is frozen.

    Raises:
        UserError: an unknown name or override, weights of another network, or a value that does not fit.
    """
    if "pretrained" in overrides:
        if weights != "none":
            raise UserError("`pretrained` and `weights` are two names of one value; leave one of them out.")
        weights = overrides.pop("pretrained")
    in_channels = overrides.pop("in_chans", in_channels)
    kind = model_names.kind(name) if isinstance(name, str) else None
    if isinstance(name, str) and catalog.known(name) and name not in zoo.entries():
        name, weights = catalog.find(name).model, name if weights in ("none", True) else weights
    weights = library_names.translate_weights(weights, name)
    if kind and not (include_top and pooling is None and num_classes != 0 and not features_only):
        raise UserError(
            f"'{name}' is a {kind}, on which include_top, pooling, features_only and num_classes=0 have no effect."
        )
    if kind and output_stride is not None:
        overrides["output_stride"], output_stride = output_stride, None
    if out_indices is not None and not features_only:
        raise UserError(f"out_indices={out_indices} needs features_only=True.")
    if features_only:
        if pooling is not None:
            raise UserError(f"features_only=True returns feature maps, which pooling={pooling!r} has no effect on.")
        include_top, num_classes = False, None
    if num_classes == 0:
        include_top, num_classes = False, None
        pooling = pooling or "avg"
    if output_stride is not None and (include_top or pooling is not None):
        raise UserError(
            f"output_stride={output_stride} needs features_only=True, or include_top=False without pooling."
        )
    if include_top and pooling is not None:
        raise UserError(f"pooling={pooling!r} needs include_top=False; the head has its own pooling.")
    if not include_top and num_classes is not None:
        raise UserError(f"Without its head a network has no classes; received num_classes={num_classes}.")
    if weights != "none" and overrides:
        raise UserError(f"Weights fix the network; leave out {', '.join(overrides)}, or the weights.")
    if kind == "segmenter":
        from resnets.weights.segmentation.create_segmenter import create_segmenter

        return create_segmenter(name, weights, num_classes, in_channels, overrides)
    if kind == "detector":
        from resnets.weights.detection.create_detector import create_detector  # imports all of torchvision

        return create_detector(name, weights, num_classes, in_channels, overrides)
    net = _with_head(name, weights, num_classes, in_channels, overrides)
    if include_top:
        return net
    backbone = net.backbone(pooling)
    if output_stride is not None:
        backbone = with_output_stride(backbone, output_stride)
    return FeatureMaps(backbone, out_indices) if features_only else backbone


def _with_head(
    name: str, weights: str, num_classes: int | None, in_channels: int, overrides: Mapping[str, Any]
) -> ResNet:
    if weights == "none":
        return zoo.build(name, num_classes=num_classes, in_channels=in_channels, **overrides)
    zoo.find(name)
    is_published = catalog.known(weights) and not Path(weights).exists()
    if is_published and (other := catalog.find(weights).model) != name:
        raise UserError(f"The weights '{weights}' are of {other}; received '{name}'.")
    loaded = find_weights.read(download_published.imagenet_to_name(weights, name))
    if loaded.spec.name != name:
        raise UserError(f"The weights are of {loaded.spec.name}; received '{name}'.")
    others = num_classes if num_classes != loaded.spec.num_classes else None
    loaded, notes = adapt.adapt_checkpoint(loaded, num_classes=others, in_channels=in_channels)
    for note in notes:
        log(note)
    return checkpoints.network(loaded)
