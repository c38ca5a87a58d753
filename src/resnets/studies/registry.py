"""The studies by name."""

from resnets.errors import UserError
from resnets.message_format import format_list, suggestion
from resnets.studies.claims import ensemble, gradients, lesion, responses, shattering
from resnets.studies.study import Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY for module in (gradients, shattering, lesion, responses, ensemble)
}


def find(name: str) -> Study:
    """The study of that name; an unknown name is a UserError."""
    if name not in STUDIES:
        known = format_list(STUDIES, quote=False)
        raise UserError(f"There is no study '{name}'.{suggestion(name, STUDIES)} The studies are {known}.")
    return STUDIES[name]
