"""The header of a checkpoint file: its key, its format number, and the names that changed since formats 1 and 2.

This module does not import torch, so that a header can be read without it.
"""

from typing import Any

KEY = "resnets"  # of the safetensors metadata
FORMAT = 3
# Fields that had another name in format 1 or in earlier files of format 2: of the header itself, and by section.
_RENAMED_SECTIONS = {"classes": "class_names"}
_RENAMED = {
    "spec": {
        "classes": "num_classes",
        "depths": "num_blocks",
        "widths": "out_channels",
        "inner_widths": "mid_channels",
        "meeting": "block",
        "gate": "attention",
        "zero_both_sides": "zero_pad_both_sides",
        "stride_block": "downsample_block",
        "stem_raw": "stem_preact",
        "hidden": "head_hidden_dim",
        "initialisation": "initialization",
    },
    "preprocess": {"colour": "color", "draft": "fast_jpeg"},
    "metrics": {"classes": "num_classes", "classes_with_images": "num_classes_with_images"},
    "provenance": {"licence": "license"},
}
# Values that had another name, by section and (new) field.
_RENAMED_VALUES = {
    "spec": {"initialization": {"he": "kaiming", "glorot": "xavier"}},
    "preprocess": {"color": {"grey": "gray"}},
}


def upgrade(header: dict[str, Any]) -> dict[str, Any]:
    """The header with the names of the current format, whatever its format is."""
    header = {_RENAMED_SECTIONS.get(key, key): value for key, value in header.items()}
    for section in _RENAMED.keys() & header.keys():
        header[section] = _upgrade_section(section, header[section])
    if "temperature" in header:  # formats 1 and 2 had classification only
        header |= {"task": "classification", "config": {}, "fitted": {"temperature": header.pop("temperature")}}
    # The metrics on the images that the epoch was selected on have the names of the metrics that they are part of.
    if isinstance(selected := header.get("metrics", {}).get("selected"), dict):
        header["metrics"]["selected"] = _upgrade_section("metrics", selected)
    return header


def _upgrade_section(section: str, values: dict[str, Any]) -> dict[str, Any]:
    values = {_RENAMED[section].get(key, key): value for key, value in values.items()}
    for key, words in _RENAMED_VALUES.get(section, {}).items():
        if isinstance(values.get(key), str):
            values[key] = words.get(values[key], values[key])
    return values


def upgrade_tensor_name(name: str) -> str:
    """The current name of a tensor: format 1 put "stages." before stages and called the attention of a branch "gate"."""
    return name.removeprefix("stages.").replace(".branch.gate.", ".branch.attention.")
