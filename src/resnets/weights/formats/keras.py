"""Keras format: names of tensors in `.h5`, `.weights.h5` and `.keras` files.

Keras names layers, not tensors: the variables of a layer have a fixed order, and `.weights.h5` stores only that. Here a tensor is
called `LAYER/VARIABLE` in every container: `conv1_conv/kernel`, `conv1_bn/moving_mean`.

The layers of Keras Applications' networks have Keras' own names (keras/src/applications/resnet.py); those of all others have the
paths of our modules with `_` for each dot, as in the models that `resnets.weights.formats.keras_model` builds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_into_tensors, keras_model, spec_from_shapes
from resnets.weights.formats.candidate import Candidate
from resnets.weights.formats.keymap import Keymap, Rule, backbone_tensors, expected_tensors, read_name, write_name
from resnets.weights.readers.read_any import WeightsFile

# zoo name -> the function of keras.applications
APPLICATIONS = {
    "keras_resnet50": "ResNet50", "keras_resnet101": "ResNet101", "keras_resnet152": "ResNet152",
    "keras_resnet50v2": "ResNet50V2", "keras_resnet101v2": "ResNet101V2", "keras_resnet152v2": "ResNet152V2",
}  # fmt: skip
BLOCK, KERAS_BLOCK = "stage{s}.block{b}", "conv{s+1}_block{b}"
# Keras' names of the layers of its own networks, and the paths of the modules of resnets.
V1 = (
    ("conv1_conv", "stem.conv"), ("conv1_bn", "stem.norm"), ("predictions", "head.fc"),
    (f"{KERAS_BLOCK}_{{n}}_conv", f"{BLOCK}.branch.conv{{n}}"), (f"{KERAS_BLOCK}_{{n}}_bn", f"{BLOCK}.branch.norm{{n}}"),
    (f"{KERAS_BLOCK}_0_conv", f"{BLOCK}.shortcut.conv"), (f"{KERAS_BLOCK}_0_bn", f"{BLOCK}.shortcut.norm"),
)  # fmt: skip
V2 = (
    ("conv1_conv", "stem.conv"), ("post_bn", "final.norm"), ("predictions", "head.fc"),
    (f"{KERAS_BLOCK}_preact_bn", f"{BLOCK}.norm"), (f"{KERAS_BLOCK}_{{n}}_conv", f"{BLOCK}.branch.conv{{n}}"),
    (f"{KERAS_BLOCK}_{{n-1}}_bn", f"{BLOCK}.branch.norm{{n}}"),  # our norms have the number of the convolution after them
    (f"{KERAS_BLOCK}_0_conv", f"{BLOCK}.shortcut.conv"),
)  # fmt: skip
# Variables in Keras' order: Keras' name, the name in resnets, layout.
CONVOLUTION = (("kernel", "weight", "conv"), ("bias", "bias", "same"))
DENSE = (("kernel", "weight", "dense"), ("bias", "bias", "same"))
NORM = (
    ("gamma", "weight", "same"), ("beta", "bias", "same"), ("moving_mean", "running_mean", "same"),
    ("moving_variance", "running_var", "same"),
)  # fmt: skip
VARIABLES: dict[type[nn.Module], tuple[tuple[str, str, str], ...]] = {
    nn.Conv2d: CONVOLUTION, nn.Linear: DENSE, nn.BatchNorm2d: NORM,
}  # fmt: skip
SUFFIXES = (".weights.h5", ".h5", ".keras")


def layers(spec: ResNetSpec, *, own_names: bool = False) -> dict[str, tuple[str, nn.Module]]:
    """Our modules with weights, on the meta device: Keras' name of the layer -> path, module; in our order.

    With `own_names`, the networks of Keras Applications have the names of `keras_model`, too.
    """
    with torch.device("meta"):
        net = build(spec)
    names = (V2 if spec.preactivation else V1) if application(spec) and not own_names else None
    modules: dict[str, tuple[str, nn.Module]] = {}
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            modules[_layer_name(path, names)] = path, module
    return modules


def keymap(spec: ResNetSpec, *, top: bool = True, own_names: bool = False) -> Keymap:
    """`LAYER/VARIABLE` and the names of resnets for the tensors of this network; without `top`, of all but its head."""
    rules = []
    for name, (path, module) in layers(spec, own_names=own_names).items():
        kind = next(variables for type_, variables in VARIABLES.items() if isinstance(module, type_))
        rules += [Rule(f"{name}/{external}", f"{path}.{parameter}", layout) for external, parameter, layout in kind]
    return Keymap(rules, expected_tensors(spec, top=top), counters=False)


def application(spec: ResNetSpec) -> str | None:
    """The function of keras.applications whose network computes what this one does, or None."""
    same = (spec_from_shapes.computes_the_same(spec, zoo.find(name).spec) for name in APPLICATIONS)
    return next((function for function, equal in zip(APPLICATIONS.values(), same, strict=True) if equal), None)


def with_variable_names(weights_file: WeightsFile) -> WeightsFile:
    """The file with its tensors named `LAYER/VARIABLE`; unchanged if it is not a file of Keras."""
    known = weights_file.attributes.get("layers")
    if weights_file.container not in ("h5", "keras") or not known:
        return weights_file
    tensors = {}
    for layer in known:
        values = [weights_file.tensors[name] for name in layer["tensors"] if name in weights_file.tensors]
        names = [variable for variable, *_ in (NORM if len(values) == 4 else CONVOLUTION)]
        if values and len(values) > len(names):
            return weights_file  # a layer that no residual network here has
        for name, tensor in zip(names, values, strict=False):
            tensors[f"{layer['name']}/{name}"] = tensor
    return replace(weights_file, tensors=tensors, sets={"": tensors})


def candidates(weights_file: WeightsFile) -> list[Candidate]:
    """The networks that a file with tensors named so fits; empty if it is not a known file of Keras."""
    if weights_file.container not in ("h5", "keras"):
        return []
    tensors = weights_file.tensors
    head = tensors.get("predictions/kernel")
    num_blocks = spec_from_shapes.num_blocks(list(tensors), "conv{s}_block{b+1}_1_conv/kernel")
    stem = tensors.get("conv1_conv/kernel")
    if not num_blocks or stem is None or stem.dim() != 4:
        return _from_config(weights_file)
    v2 = "post_bn/gamma" in tensors
    changes: dict[str, Any] = {"in_channels": stem.shape[2]}
    if head is not None and head.dim() == 2:
        changes["num_classes"] = head.shape[1]
    for name in APPLICATIONS:
        spec = zoo.find(name).spec
        if spec.num_blocks == num_blocks and spec.preactivation == v2:
            reasons = (
                "the layers conv1_conv, conv2_block1_1_conv are Keras Applications'",
                f"{'+'.join(map(str, num_blocks))} blocks",
                "a post_bn after the last block, so V2" if v2 else "no post_bn after the last block, so V1",
                f"a head of {head.shape[1]} classes" if head is not None else "no head",
            )
            return [Candidate(replace(spec, **changes), "keras", reasons, (), preprocess(spec))]
    return []


def preprocess(spec: ResNetSpec) -> Preprocess | None:
    """The preprocessing of Keras Applications for this network; None for other networks."""
    if application(spec) is None:
        return None
    return Preprocess.tf() if spec.preactivation else Preprocess.caffe()


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the file with Keras itself, and return the function of Keras Applications or the name of the model.

    The suffix decides: `.keras` is the whole model, `.weights.h5` its weights, `.h5` the whole model in the older format. The
    temperature is folded into the last layer.

    Raises:
        UserError: the suffix is another one, or Keras is not installed.
    """
    path = Path(path)
    suffix = next((each for each in SUFFIXES if path.name.endswith(each)), None)
    if suffix is None:
        raise UserError(f"Keras' files end in {', '.join(SUFFIXES)}; received '{path.name}'.")
    folded = fold_into_tensors.with_temperature(checkpoint) if top else checkpoint
    model, name = network(folded.spec, folded.tensors, top=top)
    layer = keras_model.import_keras().layers.Layer
    if suffix == ".h5" and (
        operations := sorted({type(each).__name__ for each in model.operations if not isinstance(each, layer)})
    ):
        raise UserError(
            f"Keras cannot open the whole model of '{checkpoint.spec.name}' in its older format, .h5, which has layers alone and "
            f"no operation {', '.join(operations)}. Write .keras or .weights.h5."
        )
    with atomic_write.replace_file(path) as temporary:
        # Keras reads the suffix, too.
        inner = Path(temporary).with_name(f"{Path(temporary).name}{suffix}")
        try:
            model.save_weights(inner) if suffix == ".weights.h5" else model.save(inner)
            inner.replace(temporary)
        finally:
            inner.unlink(missing_ok=True)
    return name


def extra_contents(path: str | Path) -> frozenset[str]:
    """What a written file includes besides the tensors, of "class_names", "preprocess" and "card": nothing."""
    return frozenset()


def network(spec: ResNetSpec, tensors: Mapping[str, Tensor], *, top: bool = True) -> tuple[Any, str]:
    """A Keras model with our tensors, and its name.

    It returns logits; models of keras.applications return probabilities, as they do there.
    """
    keras = keras_model.import_keras()
    function = application(spec)
    if function is None:
        model, name = keras_model.build(spec, top=top), spec.name
    else:
        name = f"{function}({'' if top else 'include_top=False'})"
        model = _application(keras, function, spec, top, "softmax")
    fill(model, spec, tensors, top=top)
    return model, name


def fill(
    model: Any, spec: ResNetSpec, tensors: Mapping[str, Tensor], *, top: bool = True, own_names: bool = False
) -> None:
    """Set the weights of a Keras model, whose layers have the names of `layers`, to our tensors."""
    external = keymap(spec, top=top, own_names=own_names).from_resnets(tensors if top else backbone_tensors(tensors))
    values: dict[str, dict[str, Any]] = {}
    for name, tensor in external.items():
        layer, _, variable = name.rpartition("/")
        values.setdefault(layer, {})[variable.removesuffix(":0")] = tensor.detach().cpu().numpy()
    for name, arrays in values.items():
        layer = model.get_layer(name)
        layer.set_weights([arrays[variable.name] for variable in layer.weights])


def reference_model(weights_file: WeightsFile, spec: ResNetSpec) -> Callable[[Tensor], Tensor]:
    """The Keras model with the tensors of the file, if possible that of keras.applications: images (N, C, H, W) to logits.

    Raises:
        UserError: Keras is not installed, or has no equivalent of a layer.
    """
    keras = keras_model.import_keras()
    function = application(spec)
    model = _application(keras, function, spec, True, None) if function else keras_model.build(spec)
    fill(model, spec, keymap(spec).to_resnets(weights_file.tensors))

    def run(images: Tensor) -> Tensor:
        answer = model(images.permute(0, 2, 3, 1).cpu().numpy(), training=False)
        return torch.as_tensor(keras.ops.convert_to_numpy(answer))

    return run


def _application(keras: Any, function: str, spec: ResNetSpec, top: bool, activation: str | None) -> Any:
    """Keras' own network; if its interface allows only one size of images, its backbone with a head of the same names."""
    make = getattr(keras.applications, function)
    backbone = make(include_top=False, weights=None, input_shape=(None, None, spec.in_channels), pooling=None)
    if not top:
        return backbone
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    return keras.Model(
        backbone.input, keras.layers.Dense(spec.num_classes, activation, name="predictions")(pooled), name=backbone.name
    )


def _layer_name(path: str, names: Sequence[tuple[str, str]] | None) -> str:
    if names is None:
        return keras_model.layer_name(path)
    for layer, pattern in names:
        if (values := read_name(pattern, path)) is not None:
            return write_name(layer, values)
    raise UserError(f"Keras Applications' networks have no layer for '{path}'.")


def _from_config(weights_file: WeightsFile) -> list[Candidate]:
    """The network of a model that `keras_model` built, whose configuration has its name."""
    config = weights_file.attributes.get("config")
    inner = config.get("config") if isinstance(config, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    head = weights_file.tensors.get("head_fc/kernel")
    stem = weights_file.tensors.get("stem_conv/kernel", weights_file.tensors.get("stem_conv1/kernel"))
    if name not in zoo.list_models() or stem is None or stem.dim() != 4:
        return []
    spec = zoo.get_spec(name, in_channels=stem.shape[2], num_classes=None if head is None else head.shape[-1])
    return [Candidate(spec, "keras", (f"the model's configuration calls it {name}",))]
