"""What is said of images that could not be read, and the error at the end of the job."""

from collections.abc import Mapping, Sequence

from resnets.data.datasets.dataset import Sample
from resnets.errors import JobError
from resnets.message_format import format_list, pluralize
from resnets.progress import log


def raise_for(bad: Sequence[str], count: int, inaccessible: Mapping[str, str]) -> None:
    """Raise JobError if some of `count` images, or folders, could not be read; the folders have the reasons."""
    failed = [f"{len(bad):,} of {count:,} images could not be read: {format_list(bad, 5)}"] if bad else []
    if inaccessible:
        folders, reasons = pluralize(len(inaccessible), "folder"), ", ".join(sorted(set(inaccessible.values())))
        failed.append(f"{folders} could not be read ({reasons}): {format_list(list(inaccessible), 5)}")
    if failed:
        raise JobError(f"{'; '.join(failed)}.")


def report_samples(samples: Sequence[Sample], errors: dict[int, str], on_bad: str) -> None:
    """Log each image that cannot be read; raise JobError unless they are to be skipped and others are left."""
    if not errors:
        return
    for index, reason in errors.items():
        log(f"'{samples[index].path}' {reason}")
    paths = [samples[index].path for index in errors]
    if on_bad == "error":
        raise JobError(
            f"{len(errors):,} of {len(samples):,} images cannot be read: {format_list(paths)}. Repair or remove them, or skip "
            "them with `on_bad=skip`."
        )
    if len(errors) == len(samples):
        raise JobError(f"None of the {len(samples):,} images can be read: {format_list(paths, 5)}.")
    log(f"skipped: {len(errors):,} of {len(samples):,} images, which cannot be read")
