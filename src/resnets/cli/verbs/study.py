"""`resnets study`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags, output

LIST = "list"


def study(
    name: Annotated[
        str, Argument(help="A study, or list for all studies with what they claim and take.", metavar="NAME")
    ],
    more_weights: Annotated[
        list[str] | None, Argument(help="The second and further files of --weights.", metavar="[FILE]...")
    ] = None,
    protocol: Annotated[str, Option(help="How much is measured: paper, short or minutes.")] = "short",
    seeds: Annotated[
        int | None,
        Option(
            help="Number of seeds, where weights or directions are drawn: 3, 5 or 8.  [default: 5, or 3 where much is computed]"
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        Option(help="Trained classifiers, one or several files.  [default: cifar_resnet20.cifar10]"),
    ] = None,
    data: Annotated[str | None, Option(help="Labeled images: to train on, or that the networks know.")] = None,
    out: Annotated[str, Option(*flags.OUT_DIR, help="Folder for the folders of studies.")] = "studies",
    rows: Annotated[
        list[str] | None, Option(help="Files trainings.csv of trainings that are finished elsewhere; may be repeated.")
    ] = None,
    only_seed: Annotated[
        int | None, Option(help="Train with this seed only, and with others elsewhere; for studies that train.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Measure a claim of the papers about residual networks, with a control and a verdict: shown, not shown, opposite, undecided.

    Example: resnets study lesion --data cifar10
    """
    from resnets.api import study as api

    if name == LIST:
        _print_list(api.list_studies(), as_json)
        return
    files = [*(weights or ()), *(more_weights or ())]
    result = api.study(
        name,
        protocol=protocol,
        seeds=seeds,
        weights=files or None,
        data=data,
        out=out,
        rows=rows or (),
        only_seed=only_seed,
    )
    if as_json:
        output.print_json(result.to_dict())
    else:
        for line in result.lines():
            output.print_line(line)


def _print_list(studies: list[dict], as_json: bool) -> None:
    if as_json:
        output.print_json(studies)
        return
    for each in studies:
        output.print_line(f"{each['name']}: {each['claim']}")
        output.print_line(f"  {each['paper']}: {each['published']}")
        output.print_line("  " + "; ".join(f"{protocol}: {cost}" for protocol, cost in each["cost"].items()))
