"""The formats of other libraries by name.

Each module has `keymap(spec)`, `candidates(weights_file)`, `write(path, checkpoint)`, `extra_contents(path)` and
`reference_model(weights_file, spec)`, the network of the library itself.
"""

from types import ModuleType

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.weights.formats import huggingface, keras, timm, torchvision

# In the order in which they are tried: timm has torchvision's names and more.
FORMATS: dict[str, ModuleType] = {"huggingface": huggingface, "timm": timm, "torchvision": torchvision, "keras": keras}


def find(name: str) -> ModuleType:
    """The format of that name; an unknown name is a UserError."""
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise UserError(f"There is no format '{name}'.{suggestion(name, FORMATS)} The formats are {known}.")
    return FORMATS[name]
