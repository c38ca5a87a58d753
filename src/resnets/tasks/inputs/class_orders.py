"""The classes of models that are used together, matched by name."""

from collections.abc import Sequence

from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.tasks.trained_model import TrainedModel


def class_orders(models: Sequence[TrainedModel]) -> list[list[int]]:
    """For each model, the indices of its outputs in the order of the first one's classes.

    Raises:
        UserError: the classes differ; the message names what differs.
    """
    first = models[0]
    orders = []
    for model in models:
        missing = [name for name in first.class_names if name not in model.class_names]
        extra = [name for name in model.class_names if name not in first.class_names]
        if missing or extra:
            differences = [f"does not have {format_list(missing, 5)}"] if missing else []
            differences += [f"also has {format_list(extra, 5)}"] if extra else []
            raise UserError(
                f"Models that are evaluated together need the same classes: unlike '{first.name}', "
                f"'{model.name}' {' and '.join(differences)}."
            )
        indices = {name: index for index, name in enumerate(model.class_names)}
        orders.append([indices[name] for name in first.class_names])
    return orders
