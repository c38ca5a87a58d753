"""The figure of `degradation`: the errors of plain and residual networks over the steps (He et al. 2015, figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnets.studies.trainings import training_curves
from resnets.studies.trainings.training import EPOCH_ERROR, RUNNING_ERROR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAIN, RESIDUAL = "plain", "residual"


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """Figure 6 of the paper, and below it the statistic over the steps."""
    panels = page.subplot_mosaic([[PLAIN, RESIDUAL], ["gap", "gap"]])
    found = sorted({row["network"] for row in rows}, key=lambda name: (name.split("-")[0], int(name.split("-")[1])))
    for kind in (PLAIN, RESIDUAL):
        training_curves.draw_errors(panels[kind], rows, [name for name in found if name.startswith(kind)])
    panels[RESIDUAL].sharey(panels[PLAIN])
    curves = {}
    for label, quantity in (("training", RUNNING_ERROR), ("test", EPOCH_ERROR)):
        tables = [training_curves.table(rows, name, quantity) for name in found]
        if len(tables) == 4 and tables[0][0]:
            plain_shallow, plain_deep, shallow, deep = (values for _, values in tables)
            curves[label] = tables[0][0], (plain_deep - plain_shallow) - (deep - shallow)
    title = "gap of the plain networks minus gap of the residual ones, points: mean and range of the seeds"
    training_curves.draw_difference(panels["gap"], curves, title)
