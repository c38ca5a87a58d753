"""Evaluate checkpoints of any task on labeled images: one, an ensemble, or two against each other.

`write_evaluation.py` writes the results.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnets.data.datasets import read_shards, walk_folders
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.split import lineage
from resnets.errors import UserError
from resnets.inference.exported.int8_files import INT8
from resnets.progress import log
from resnets.tasks import load_model, registry
from resnets.tasks.base import Measured, Task
from resnets.tasks.comparison import Exposure
from resnets.tasks.evaluation import evaluation_arguments, evaluation_notices, evaluation_split
from resnets.tasks.evaluation.evaluation_split import EvaluationSplit
from resnets.tasks.evaluation.results import EvaluatedModel, Evaluation
from resnets.tasks.inputs.batching import check_options
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoint_file
from resnets.weights import find_weights, local_file
from resnets.weights.hub import bundled


def evaluate_checkpoints(
    checkpoints: Sequence[str | Path],
    data: str | Path,
    *,
    split: str | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    batch: int = 32,
    workers: int | None = None,
    pairwise: bool = False,
    calibrate: bool = False,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    on_bad: str = "error",
    **options: Any,
) -> Evaluation:
    """Evaluate checkpoints on labeled images: several as an ensemble or, with `pairwise`, two against each other.

    Args:
        precision: "auto" is that of an exported file, and fp32 of a checkpoint.
        calibrate: fit the one checkpoint anew to these images (its temperature or thresholds), and store that in its file.
        options: of the task, such as `crops` and `scales` of classification.

    Raises:
        UserError: a file does not exist, or an argument does not fit the rest.
        JobError: images cannot be read; all of them are named.
    """
    data = str(data)
    check_options(batch, workers, on_bad)
    if not checkpoints:
        raise UserError("Give at least one checkpoint to evaluate.")
    if calibrate and (len(checkpoints) != 1 or options):
        received = f", without `{'` and `'.join(options)}`." if options else f"; received {len(checkpoints)}."
        raise UserError(f"`calibrate` fits one checkpoint to plain images{received}")
    if calibrate and precision == INT8:
        raise UserError("`calibrate` fits the checkpoint, so not with `precision=int8`. Then quantize it again.")
    evaluation_arguments.check_order(checkpoints, data)
    files = [find_weights.find_file(checkpoint) for checkpoint in checkpoints]
    if calibrate:
        check_not_bundled(files[0])
    models = [load_model.load(file, device, backend=backend, precision=_precision(file, precision)) for file in files]
    groups = [[each] for each in models] if pairwise else [models]
    check_models(files, models, data)
    task = models[0].task
    for group in groups:
        task.check_evaluation(group, options)
    dataset = _read(task, files[0], data, on_bad)
    provenance = [model.provenance for model in models]
    origins = list(zip(files, provenance, strict=True))
    lineages = list(zip(map(str, checkpoints), (lineage.lineage_of(*each) for each in origins), strict=True))
    chosen = evaluation_split.choose_for_models(
        dataset, files, provenance[0], lineages, split, split_file, val_fraction, seed, calibrate
    )
    input_size = max(options.get("scales", ()), default=0) or max(each.preprocess.shorter_side or 0 for each in models)
    notices = [notice] if (notice := read_shards.upscale_warning(dataset, input_size)) else []
    notices += evaluation_notices.training_notices(lineages, chosen)
    names = [(str(file),) for file in files] if pairwise else [tuple(map(str, files))]
    evaluated = []
    for name, group in zip(names, groups, strict=True):
        measured = task.measure_models(group, chosen.samples, batch=batch, workers=workers, on_bad=on_bad, **options)
        if calibrate:
            measured = _calibrated(files[0], measured, data, chosen)
        evaluated.append(_evaluated(name, measured, chosen.samples, group[0] if len(group) == 1 else None))
    selected = [evaluation_split.num_selected_on(file, chosen.samples, origin) for file, origin in origins]
    in_sample = evaluation_notices.in_sample_notices(task, files, selected, chosen, calibrate)
    comparison = None
    if pairwise:
        pasts = [past for _, past in lineages]
        exposures = [Exposure(past.count_seen(chosen.samples), n) for past, n in zip(pasts, selected, strict=True)]
        comparison = task.compare(evaluated[0].measured, evaluated[1].measured, evaluated[0].samples, exposures)
    return Evaluation(
        data=data,
        split=chosen,
        models=tuple(evaluated),
        comparison=comparison,
        not_used=walk_folders.describe_unused(dataset.unused, len(evaluated[0].skipped)),
        in_sample=bool(in_sample),
        notices=(*notices, *in_sample),
    )


def _precision(file: Path, precision: str) -> str:
    """That of an exported file, and fp32 of a checkpoint, where none was asked for."""
    return "fp32" if precision == "auto" and not local_file.exported_format(file) else precision


def _read(task: Task, file: Path, data: str, on_bad: str) -> Dataset:
    """The dataset with the classes of the model in `file`; the errors of data that do not fit it name it, and its task."""
    try:
        dataset = task.read(data, on_inaccessible=on_bad, config=task.config)
    except UserError as error:
        _check_task(task, file, data, error)
        raise
    try:
        return task.bind(dataset)
    except UserError as error:
        _check_task(task, file, data, error)
        raise UserError(f"The model '{file}' does not fit the data: {error}") from error


def _check_task(task: Task, file: Path, data: str, error: UserError) -> None:
    """Raise UserError if the data are laid out for another task, which explains any other `error`."""
    path = Path(data).expanduser()
    tasks = [each for each in registry.of_data(path) if path.exists() and each.recognizes(path)]
    # Folders of masks or of annotations are class folders to a task whose targets do not change with the image.
    if tasks and (type(task) not in tasks or (tasks[0].spatial_targets and not task.spatial_targets)):
        raise UserError(
            f"'{file}' is a model of the task {task.name}, and the data '{data}' are for {tasks[0].name}. Evaluate it on data "
            f"for {task.name}, or give a model of the task {tasks[0].name}."
        ) from error


def check_models(files: Sequence[Path], models: Sequence[TrainedModel], data: str) -> None:
    """Raise UserError for models of several tasks, a last layer that was not trained, and no class names, which labels need."""
    names = list(dict.fromkeys(model.task.name for model in models))
    if len(names) > 1:
        raise UserError(f"Models that are evaluated together need the same task; these are of {' and '.join(names)}.")
    for file, model in zip(files, models, strict=True):
        model.check_trained()
        if not model.has_class_names:
            raise UserError(
                f"'{file}' has no names for its {len(model.class_names)} outputs, so they cannot be matched with the labels of "
                f"'{data}'. Write the names into a text file, one per line in the order of the outputs, and add them: "
                f"resnets weights convert {shlex.quote(str(file))} --to resnets --out NAMED.safetensors --class-names FILE"
            )


def _evaluated(
    names: tuple[str, ...], measured: Measured, samples: Sequence[Sample], model: TrainedModel | None
) -> EvaluatedModel:
    rows = measured.measurements.rows
    read = set(rows["index"].tolist()) if "index" in rows else None  # type: ignore[union-attr]
    kept = tuple(sample for index, sample in enumerate(samples) if read is None or index in read)
    skipped = tuple(sample.path for index, sample in enumerate(samples) if read is not None and index not in read)
    return EvaluatedModel(names, measured, kept, skipped, model)


def check_not_bundled(path: Path) -> None:
    """Raise UserError for a file that comes with the package, which is never changed."""
    if path in map(bundled.path_of, bundled.names()):
        copy = f"resnets weights convert {path.stem} --to resnets --out NAME{path.suffix}"
        raise UserError(f"'{path.stem}' comes with the package and is not changed. Calibrate a copy: {copy}")


def _calibrated(file: Path, measured: Measured, data: str, split: EvaluationSplit) -> Measured:
    """Fit the model to its measurements, and store that in its file, with the origin of the images in its provenance."""
    if not (count := measured.task.summarize(measured.task.keep(measured.measurements))["count"]):
        raise UserError("A model can only be fitted to labeled images; there are none.")
    fitted = measured.task.fit(measured.measurements)
    if not fitted:
        raise UserError(f"`calibrate` has no effect on the task {measured.task.name}, which fits nothing.")
    task = measured.task.with_fitted(fitted)
    checkpoint = checkpoint_file.read(file, task=None)
    origin = {"data": data, "split": split.name, "images": count}
    provenance = {**checkpoint.provenance, "calibration": origin}
    checkpoint_file.save(file, replace(checkpoint, fitted=task.fitted, provenance=provenance))
    log(f"stored in '{file}': {task.describe_fitted(measured.task, measured.measurements)}")
    return measured._replace(task=task)
