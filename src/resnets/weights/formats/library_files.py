"""Write the tensors of another library to a file, and load those of a file into the library's own network."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from resnets import atomic_write
from resnets.errors import UserError
from resnets.weights.formats.keymap import COUNTER

OTHER_SUFFIXES = (".h5", ".hdf5", ".keras", ".onnx", ".npz", ".npy", ".json", ".zip")


def save(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors as safetensors if `path` ends in `.safetensors`, else with `torch.save`.

    Raises:
        UserError: the suffix is that of another file format.
    """
    suffix = Path(path).suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise UserError(f"This format's files end in .pth, .pt or .safetensors; received '{Path(path).name}'.")
    with atomic_write.replace_file(path) as temporary:
        if suffix == ".safetensors":
            whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
            safetensors.torch.save_file(whole, temporary, metadata=dict(metadata))
        else:
            torch.save(dict(tensors), temporary)


def load_strictly(net: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Load these tensors strictly into a network on the meta device, in its own types, and return it in eval mode."""
    state = net.state_dict()
    own = {name: tensor.to(state[name].dtype) for name, tensor in tensors.items() if name in state}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in state if name.endswith(COUNTER)}
    try:
        net.load_state_dict({**counters, **tensors, **own}, strict=True, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The library's network does not take the tensors: {reason}") from None
    return net.eval()
