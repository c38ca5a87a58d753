"""The studies by name."""

from resnets.errors import UserError
from resnets.message_format import format_list, suggestion
from resnets.studies.claims import (
    depth,
    ensemble,
    gradients,
    landscape,
    lesion,
    paths,
    responses,
    shattering,
    shattering_images,
    skipping,
    training_gradients,
)
from resnets.studies.comparisons import activation_order, degradation, highway, shortcuts, stochastic
from resnets.studies.study import Study

_MODULES = (
    degradation, gradients, training_gradients, shattering, shattering_images, lesion, paths, skipping, responses, depth,
    stochastic, ensemble, landscape, shortcuts, activation_order, highway,
)  # fmt: skip
STUDIES: dict[str, Study] = {module.STUDY.name: module.STUDY for module in _MODULES}


def find(name: str) -> Study:
    """The study of that name; an unknown name is a UserError."""
    if name not in STUDIES:
        known = format_list(STUDIES, quote=False)
        raise UserError(f"There is no study '{name}'.{suggestion(name, STUDIES)} The studies are {known}.")
    return STUDIES[name]
