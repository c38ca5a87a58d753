"""Infer the specification of a network from the shapes of its tensors, and find the matching networks of the zoo.

Shapes do not show strides, padding, the side on which option A pads, or the order of colors. Networks that differ only in these
all match, and `doubts` names the differences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights.formats.keymap import Rule, read_name, write_name

V15 = "V1.5, as in torchvision and timm, so nearly always"
V1 = "V1, as in the 2015 paper and Caffe"
KERNELS = {7: "imagenet", 3: "cifar"}  # of a stem's one convolution
# Fields of the specification that shapes show; `_shortcut` compares the shortcuts.
VISIBLE_FIELDS = ("stem", "stem_channels", "num_blocks", "out_channels", "branch", "mid_channels", "groups", "attention",
                  "preactivation", "bias")  # fmt: skip
# Fields that do not change the logits of a network in evaluation mode.
WITHOUT_EFFECT = ("name", "num_classes", "imgsz", "norm_momentum", "drop_path_rate", "dropout", "initialization",
               "zero_init_residual", "gate_bias")  # fmt: skip


def observe(tensors: Mapping[str, Tensor], rules: Sequence[Rule], *, pooled: bool = False) -> dict[str, Any] | None:
    """What the shapes of tensors show, as `matching_specs` takes it; None if these are not the names of such a network.

    Args:
        rules: between the names of the tensors and those of resnets.
        pooled: whether a pool comes before the projections.
    """
    ours = {}
    for name, tensor in tensors.items():
        read = ((rule, read_name(rule.external, name)) for rule in rules)
        if found := next(((rule, values) for rule, values in read if values is not None), None):
            ours[write_name(found[0].resnets, found[1])] = tensor
    blocks = num_blocks(list(ours), "stage{s}.block{b+1}.branch.conv1.weight")
    if not blocks or "stage1.block1.branch.norm1.running_mean" not in ours:
        return None
    deep, bottleneck = "stem.conv1.weight" in ours, "stage1.block1.branch.conv3.weight" in ours
    _, in_channels, kernel = convolution(ours, "stem.conv1.weight" if deep else "stem.conv.weight")
    first = [f"stage{s}.block1.branch" for s in range(1, len(blocks) + 1)]
    inner = [convolution(ours, f"{branch}.conv2.weight") for branch in first]
    outer = [convolution(ours, f"{branch}.conv{3 if bottleneck else 2}.weight")[0] for branch in first]
    if kernel not in KERNELS or not in_channels or not all(outer) or not all(into for _, into, _ in inner):
        return None
    projections = sum(read_name("stage{s}.block{b}.shortcut.conv.weight", name) is not None for name in ours)
    head = ours.get("head.fc.weight")
    return {
        "stem": "deep" if deep else KERNELS[kernel],
        "stem_channels": convolution(ours, "stem.conv3.weight" if deep else "stem.conv.weight")[0],
        "in_channels": in_channels,
        "num_blocks": blocks,
        "out_channels": tuple(outer),
        "branch": "bottleneck" if bottleneck else "basic",
        "mid_channels": tuple(out for out, _, _ in inner) if bottleneck else (),
        "groups": inner[0][0] // inner[0][1] if bottleneck else 1,
        "attention": "se" if "stage1.block1.branch.attention.reduce.weight" in ours else "none",
        "preactivation": False,
        "bias": "none",
        # "none" is option A, or no shortcut at all.
        "shortcut": "none" if not projections else "D" if pooled else "C" if projections == sum(blocks) else "B",
        "num_classes": None if head is None or not head.dim() else head.shape[0],
    }


def num_blocks(names: Sequence[str], first: str) -> tuple[int, ...]:
    """The number of blocks of each stage, counted by a name that every block has, such as "layer{s}.{b}.conv1.weight".

    () if the stages or blocks are not numbered without gaps.
    """
    found: dict[int, set[int]] = {}
    for name in names:
        if (values := read_name(first, name)) is not None:
            found.setdefault(int(values["s"]), set()).add(int(values["b"]))
    stages = sorted(found)
    gaps = [stage for stage in stages if found[stage] != set(range(len(found[stage])))]
    if not stages or stages != list(range(stages[0], stages[0] + len(stages))) or gaps:
        return ()
    return tuple(len(found[stage]) for stage in stages)


def convolution(tensors: Mapping[str, Tensor], name: str) -> tuple[int, int, int]:
    """Output channels, input channels and kernel size of a convolution; zeros if there is none of that name."""
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() != 4:
        return 0, 0, 0
    return tensor.shape[0], tensor.shape[1], tensor.shape[3]


def matching_specs(seen: Mapping[str, Any], fixed: Mapping[str, Any] | None = None) -> list[ResNetSpec]:
    """The networks of the zoo with the fields in `seen`, with the number of classes and input channels of the file.

    Args:
        seen: fields of the specification (those of `VISIBLE_FIELDS`), "shortcut" ("none" without projections),
            "num_classes" (None without a head) and "in_channels".
        fixed: fields that the format itself determines, such as the position of the stride.
    """
    changes = dict(fixed or {}) | {"in_channels": seen["in_channels"]}
    found: list[ResNetSpec] = []
    for entry in zoo.entries().values():
        spec = entry.spec
        # The formats hold neither other blocks than these, nor CBAM, a hidden layer of the head, and padding as Keras' "same".
        is_supported = spec.block in ("residual", "plain") and spec.attention != "cbam"
        if not is_supported or spec.head_hidden_dim or spec.same_padding:
            continue
        if any(seen[key] != value for key, value in _visible_fields(spec).items()):
            continue
        if any(getattr(spec, key) != value for key, value in (fixed or {}).items()):
            continue
        spec = replace(spec, **changes, num_classes=seen["num_classes"] or spec.num_classes)
        sides = (False, True) if spec.shortcut == "A" and spec.block == "residual" else (spec.zero_pad_both_sides,)
        found += [replace(spec, zero_pad_both_sides=side) for side in sides]
    return found or _spec_outside_zoo(seen, changes)


def computes_the_same(spec: ResNetSpec, other: ResNetSpec) -> bool:
    """Whether both compute the same from the same tensors, except for the number of classes."""
    nothing = {key: getattr(other, key) for key in WITHOUT_EFFECT}
    spec = replace(spec, **nothing)
    if spec.branch != "bottleneck":
        spec = replace(spec, stride_at=other.stride_at)
    return spec == replace(other, in_channels=spec.in_channels)


def reasons_for(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """What was observed, as sentences."""
    basic = seen["branch"] != "bottleneck"
    kind = "two convolutions a block" if basic else "three convolutions a block, so bottlenecks"
    stem = {"imagenet": "a 7x7 stem", "cifar": "a 3x3 stem, as for CIFAR", "deep": "a stem of three 3x3"}[seen["stem"]]
    words = [f"{'+'.join(map(str, seen['num_blocks']))} blocks", kind, f"{stem} for {seen['in_channels']} channels"]
    if seen["mid_channels"]:
        words.append(f"3x3 convolutions of {seen['mid_channels'][0]} channels in {seen['groups']} group(s)")
    words.append(f"stages end in {', '.join(map(str, seen['out_channels']))} channels")
    if seen["attention"] == "se":
        words.append("squeeze-and-excitation in each block")
    words.append({"none": "no projections", "B": "projections where shapes change", "C": "projections everywhere",
                  "D": "a pool before each projection"}[seen["shortcut"]])  # fmt: skip
    words.append(f"a head of {seen['num_classes']} classes" if seen["num_classes"] else "no head")
    return tuple(words)


def doubts(specs: Sequence[ResNetSpec]) -> tuple[str, ...]:
    """How the candidates differ, in sentences."""
    if len(specs) < 2:
        return ()
    found = []
    if len({spec.stride_at for spec in specs}) > 1:
        by = {spec.stride_at: spec.name for spec in specs}
        found.append(
            f"the stride of a bottleneck is in the 3x3 convolution (`model='{by['3x3']}'`: {V15}) or in the first 1x1 "
            f"(`model='{by['1x1']}'`: {V1}); the tensors are the same, the logits are not"
        )
    if len({spec.block for spec in specs}) > 1:
        options = " or ".join(f"`model='{name}'`" for name in dict.fromkeys(spec.name for spec in specs))
        found.append(f"shortcuts of option A have no tensors, so this may be a plain network too; give {options}")
    if len({spec.zero_pad_both_sides for spec in specs}) > 1:
        found.append(
            "option A's zero channels are after the others (fb.resnet.torch) or on both sides of them "
            "(akamaster/pytorch_resnet_cifar10); give `settings.zero_pad_both_sides=false` or `settings.zero_pad_both_sides=true`"
        )
    names = ", ".join(f"`model='{spec.name}'`" for spec in specs)
    return tuple(found) or (f"the file fits several networks; give one of {names}",)


def choices(specs: Sequence[ResNetSpec]) -> dict[str, str]:
    """Names and descriptions of the candidates, if they differ only in the position of a stride; else empty."""
    if len(specs) != 2 or specs[0].stride_at == specs[1].stride_at:
        return {}
    return {spec.name: V15 if spec.stride_at == "3x3" else V1 for spec in specs}


def _visible_fields(spec: ResNetSpec) -> dict[str, Any]:
    fields = {key: getattr(spec, key) for key in VISIBLE_FIELDS}
    plain = spec.block == "plain" or spec.shortcut == "A"
    return fields | {"shortcut": "none" if plain else spec.shortcut}


def _spec_outside_zoo(seen: Mapping[str, Any], changes: Mapping[str, Any]) -> list[ResNetSpec]:
    """A network that is not in the zoo, such as ResNet-26: the fields in `seen`, the others as in ResNet."""
    per_block = 3 if seen["branch"] == "bottleneck" else 2
    stages = len(seen["num_blocks"])
    shortcut = "A" if seen["shortcut"] == "none" else seen["shortcut"]
    values = {key: seen[key] for key in VISIBLE_FIELDS} | {
        "name": f"resnet{per_block * sum(seen['num_blocks']) + 2}",
        "strides": (1, *(2,) * (stages - 1)),
        "shortcut": shortcut,
        "num_classes": seen["num_classes"] or 1000,
        **changes,
    }
    spec = ResNetSpec(**values)
    if seen["branch"] == "bottleneck" and "stride_at" not in changes:
        return [spec, replace(spec, name=f"{spec.name}_v1", stride_at="1x1")]
    if shortcut == "A":
        return [spec, replace(spec, zero_pad_both_sides=True), replace(spec, block="plain", shortcut="B")]
    return [spec]
