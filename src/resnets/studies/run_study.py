"""Run a study: register it, measure, judge, and write the results."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from resnets import atomic_write
from resnets.errors import UserError
from resnets.message_format import pluralize, suggestion
from resnets.progress import log
from resnets.studies import inputs, judge_study, registration, registry, verdict, write_study
from resnets.studies.study import PROTOCOLS, SEED, Setup, Study
from resnets.studies.study_result import StudyResult
from resnets.studies.trainings import cifar_training, cost, run_trainings
from resnets.studies.trainings.run_trainings import Plan

DEFAULT_WEIGHTS = ("cifar_resnet20.cifar10",)


def run(
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
    """Run a study and write its files into `out/NAME`; see `resnets.study`."""
    study = registry.find(name)
    if protocol not in PROTOCOLS:
        raise UserError(
            f"`protocol` is one of {', '.join(PROTOCOLS)}; received '{protocol}'.{suggestion(protocol, PROTOCOLS)}"
        )
    alpha, used = _alpha_and_seeds(study, seeds)
    if study.runs is None and (rows or only_seed is not None):
        raise UserError(f"'{study.name}' trains nothing; leave out `rows` and `only_seed`.")
    if only_seed is not None and only_seed not in used:
        raise UserError(f"`only_seed` is one of {', '.join(map(str, used))}; received {only_seed}.")
    if isinstance(weights, str | Path):
        weights = [weights]
    if isinstance(rows, str | Path):
        rows = [rows]
    folder = Path(out) / study.name
    atomic_write.check_folder_writable(folder)
    setup = _setup(study, _numbers(study, protocol, data), used, weights, data)
    if study.check is not None:
        study.check(setup.networks)
    plan = None
    if study.runs is not None:
        images = inputs.read_training_images(data or str(study.data), setup.numbers["images"])
        trainings = study.runs(setup.numbers, used)
        plan = run_trainings.make_plan(trainings, images, folder, [Path(each) for each in rows])
    registered = registration.content(study, protocol, setup, plan)
    folder.mkdir(parents=True, exist_ok=True)
    registration.register(folder, registered)
    incomplete = ""
    if plan is not None:
        setup, incomplete = _train(setup, plan, used if only_seed is None else [only_seed])
        alpha = verdict.LOOKS.get(len(setup.seeds), alpha)
    start = time.monotonic()
    measurement = study.measure(setup)
    seconds = time.monotonic() - start
    # Any other seeds, such as 0, 2 and 5, would be a look more than those that share the 5 %.
    is_look = not incomplete or list(setup.seeds) in [list(range(look)) for look in verdict.LOOKS]
    measurement = replace(measurement, notes=[*measurement.notes, *_notes(setup, incomplete if is_look else "")])
    verdicts = judge_study.judge_all(study, measurement, alpha, "" if is_look else incomplete)
    result = StudyResult(study, protocol, registered, measurement, verdicts, seconds, folder)
    write_study.write(result)
    return result


def _alpha_and_seeds(study: Study, seeds: int | None) -> tuple[float, range]:
    if study.unit == SEED:
        seeds = study.seeds if seeds is None else seeds
        return verdict.alpha_of(seeds), range(seeds)
    if seeds is not None:
        raise UserError(f"`seeds` has no effect on '{study.name}', whose statistic is computed for each {study.unit}.")
    return verdict.ALPHA, range(0)


def _numbers(study: Study, protocol: str, data: str | Path | None) -> Mapping[str, int]:
    """Those of the protocol; with the built-in digits `minutes` is a minute for a study that trains, too."""
    of_digits = str(data) == "digits" and not Path("digits").exists()
    small = cifar_training.ON_DIGITS if study.runs and protocol == "minutes" and of_digits else {}
    return {**study.protocols[protocol], **small}


def _setup(
    study: Study,
    numbers: Mapping[str, int],
    seeds: range,
    weights: Sequence[str | Path] | None,
    data: str | Path | None,
) -> Setup:
    if weights and not study.num_networks:
        raise UserError(f"'{study.name}' builds its own networks; leave out `weights`.")
    chosen = (list(weights) if weights else list(DEFAULT_WEIGHTS)) if study.num_networks else []
    if len(chosen) < study.num_networks:
        raise UserError(f"'{study.name}' needs at least {study.num_networks} trained networks; give their `weights`.")
    if data and study.data == "":
        raise UserError(f"'{study.name}' needs no images; leave out `data`.")
    data = data or study.data
    if data is None and study.runs is not None:
        raise UserError(
            f"'{study.name}' needs images to train on, with a train and a test split; give `data`, such as cifar10."
        )
    if data is None:
        known = f" {DEFAULT_WEIGHTS[0]} was trained on CIFAR-10." if not weights else ""
        raise UserError(f"'{study.name}' needs labeled images that the networks know; give `data`.{known}")
    networks = inputs.load_networks(chosen)
    images = None
    if data and study.runs is None:
        images = inputs.read_images(data, numbers["images"], networks, trained_on=study.trained_on)
        if len(images) < study.least_images:
            raise UserError(f"'{study.name}' needs {study.least_images} labeled images; '{data}' has {len(images)}.")
    return Setup(numbers, seeds, networks, images)


def _train(setup: Setup, plan: Plan, seeds: Sequence[int]) -> tuple[Setup, str]:
    """Train what is missing of `seeds`, after a message about its cost.

    Returns:
        The setup with the seeds that are judged, and which of all are missing, "" if none is. Those of the largest look whose
        first seeds are all finished are judged; if there is none, all that are finished are measured.
    """
    chosen = [each for each in plan.missing if each.recipe.seed in seeds]
    count, known = pluralize(len(plan.trainings), "training"), len(plan.trainings) - len(plan.missing)
    price = cost.describe((each, plan.steps_left(each)) for each in chosen)
    log(f"{count}, of which {known} are finished; to do now: {len(chosen)}, which costs {price}")
    diverged = run_trainings.train_missing(plan, seeds)
    missing = sorted({each.recipe.seed for each in plan.missing})
    looks = [look for look in verdict.LOOKS if look <= len(setup.seeds) and not set(range(look)) & set(missing)]
    finished = [seed for seed in setup.seeds if seed not in missing]
    words = [f"of {len(setup.seeds)} seeds these are not finished: {', '.join(map(str, missing))}"] if missing else []
    words += [
        f"the loss of {each.network}, seed {each.recipe.seed}, was not finite, so that this seed has no result"
        for each in diverged
    ]
    complete = replace(
        setup,
        seeds=range(max(looks)) if looks else finished,
        images=plan.images.test,
        trained=run_trainings.finished(plan),
        num_classes=len(plan.images.train.class_names),
    )
    return complete, "; ".join(words)


def _notes(setup: Setup, incomplete: str) -> list[str]:
    """The images; missing seeds; and seeds whose trainings were computed by several machines or precisions."""
    notes = [f"{incomplete}; seeds {setup.seeds[0]} to {setup.seeds[-1]} are judged"] if incomplete else []
    if setup.images is not None:
        notes.append(f"measured on {len(setup.images):,} images of {setup.images.origin}")
    for seed in setup.seeds:
        rows = [row for (_, of), each in setup.trained.items() if of == seed for row in each.rows]
        machines = sorted({row["machine"] for row in rows if row.get("machine")})
        if len(machines) > 1:
            notes.append(f"seed {seed} was trained on several machines: {'; '.join(machines)}")
    return notes
