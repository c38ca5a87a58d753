"""`resnets.study`: a claim of the papers about residual networks, measured, and judged by an interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnets.studies import registry, run_study
from resnets.studies.study_result import StudyResult
from resnets.studies.trainings import cost


def study(
    name: str,
    *,
    protocol: str = "short",
    seeds: int | None = None,
    weights: str | Path | Sequence[str | Path] | None = None,
    data: str | Path | None = None,
    out: str | Path = "studies",
    rows: str | Path | Sequence[str | Path] = (),
    only_seed: int | None = None,
) -> StudyResult:
    """Measure a claim of the papers, with a control in which the effect must vanish, and judge it.

    What is measured and what decides is written into `out/NAME/study.toml` first. The verdict is "shown" if the whole interval of
    the statistic is on the claimed side of its bound, "opposite" if it is on the other side, "not shown" if it excludes the
    smallest effect that matters, else "undecided". It is undecided, too, if a control fails.

    Args:
        name: a name that `resnets study list` prints.
        protocol: "paper" for the number of images and the depths of the paper, "short" or "minutes" for less.
        seeds: 3, 5 or 8 for studies that draw weights, blocks or directions; None for 5, or 3 where much is computed. A finished
            study may be extended in its folder.
        weights: trained classifiers: checkpoints, run directories, names of `resnets weights list`, files of other libraries,
            and files in akamaster's layout; None for "cifar_resnet20.cifar10".
        data: labeled images of the classes of the networks; None for the built-in digits, where the networks are new.
        out: the folder for the folders of studies. A study that trains finds finished and interrupted runs in all of them.
        rows: files `trainings.csv` of finished trainings, such as those of other machines, which are not repeated.
        only_seed: train with this seed only, to train with others on other machines. The first 3, 5 or 8 seeds are judged once
            finished.

    Returns:
        The result: `.verdicts` by network or setting, each with its `.word` and `.interval`, `.measurement` and `.folder`, which
        has values.csv, figure.png, report.md and results.json; `.to_dict()` is what the command prints as JSON.

    Raises:
        UserError: an unknown name, an argument that does not fit the study, weights or images that cannot be read or do not fit
            each other, or a folder in which another study was registered.
        JobError: an image cannot be read, or the disk is full.
    """
    return run_study.run(
        name, protocol=protocol, seeds=seeds, weights=weights, data=data, out=out, rows=rows, only_seed=only_seed
    )


def list_studies() -> list[dict[str, Any]]:
    """The studies: name, claim, paper, what was published, statistic, control, and the cost of each protocol."""
    return [
        {
            "name": each.name, "claim": each.claim, "paper": each.paper, "published": each.published,
            "statistic": each.statistic, "control": each.control, "cost": cost.by_protocol(each), "weights": each.num_networks,
            "data": each.data,
        }
        for each in registry.STUDIES.values()
    ]  # fmt: skip
