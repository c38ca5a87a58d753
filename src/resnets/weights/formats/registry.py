"""The formats of other programs by name, and what can be asked of each.

Each module has `keymap(spec)`, `guesses(foreign)`, `write(path, checkpoint)` and `original(foreign, spec)`, the network of
the library itself.
"""

from __future__ import annotations

from types import ModuleType

from resnets.errors import UserError, suggestion
from resnets.weights.formats import huggingface, keras, timm, torchvision

# In the order in which they are asked: timm knows more of the names that it shares with torchvision.
FORMATS: dict[str, ModuleType] = {"huggingface": huggingface, "timm": timm, "torchvision": torchvision, "keras": keras}


def find(name: str) -> ModuleType:
    """The format of that name; another one is a UserError."""
    if name not in FORMATS:
        raise UserError(f"There is no format '{name}'.{suggestion(name, FORMATS)} There is: {', '.join(FORMATS)}.")
    return FORMATS[name]
