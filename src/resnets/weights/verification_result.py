"""The result of a verification: `Comparison` of two pipelines, and `Verification` of two files."""

from dataclasses import asdict, dataclass
from typing import Any

from resnets.weights.tolerance import EXACT, TOLERANCE


@dataclass(frozen=True)
class Comparison:
    """Two pipelines on the same image files.

    Attributes:
        first, second: names of the pipelines.
        difference: largest absolute difference of a probability.
        relative: largest absolute difference of a logit, each divided by its temperature, relative to the largest of the first.
        agreement: fraction of images with the same most probable class.
        images: number of images.
        unit: what `images` counts, in the plural: of detectors, regions.
        same_input: whether both networks had the same input tensors, so that the logits must agree, too.
        reason: why the second is known to prepare images otherwise, although its format includes our preprocessing; or "".
        unexplained: largest difference of a probability when our preprocessing does what `reason` says; None without a reason.
    """

    first: str
    second: str
    difference: float
    relative: float
    agreement: float
    images: int
    same_input: bool = True
    reason: str = ""
    unexplained: float | None = None
    unit: str = "images"

    def within(self, tolerance: float = TOLERANCE) -> bool:
        """Whether nothing exceeds its bound; see `excess`."""
        return not self.excess(tolerance)

    def excess(self, tolerance: float = TOLERANCE) -> str:
        """A message on what exceeds its bound, with both numbers; "" if nothing does. NaN exceeds every bound.

        If both networks had the same input tensors, no logit may differ by more than a hundredth of `tolerance`, relative to
        the largest, and no probability by more than `tolerance`. If each side prepared the images itself, only the
        probabilities count, after the known differences.
        """
        exact = tolerance * EXACT / TOLERANCE
        difference = self.difference if self.unexplained is None else self.unexplained
        if self.same_input and not self.relative <= exact:
            return f"the networks differ: a logit by {self.relative:.2g} of the largest, the bound is {exact:.2g}"
        if not difference <= tolerance:
            what = "the networks differ" if self.same_input else "the preprocessing differs"
            how = f", {difference:.3g} of which is not explained" if self.unexplained is not None else ""
            return f"{what}: a probability by {self.difference:.3g}{how}, the bound is {tolerance:.3g}"
        return ""

    def __str__(self) -> str:
        how = "" if self.same_input else ", each with its own preprocessing"
        why = f"; {self.reason}, without which it is {self.unexplained:.2e}" if self.unexplained is not None else ""
        return (
            f"{self.first} against {self.second}: largest difference of probabilities {self.difference:.2e}, "
            f"of logits {self.relative:.1e} of the largest{how}; "
            f"top-1 agrees on {self.agreement:.2%} of {self.images:,} {self.unit}{why}"
        )


@dataclass(frozen=True)
class Verification:
    """Two files of weights, compared on the same images.

    Attributes:
        comparisons: each other pipeline with the first.
        notes: what was assumed or left out, in sentences.
        tolerance: the largest allowed difference of a probability.
    """

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    tolerance: float = TOLERANCE

    @property
    def equal(self) -> bool:
        """Whether every comparison is within the tolerance."""
        return self.within(self.tolerance)

    def within(self, tolerance: float = TOLERANCE) -> bool:
        """Whether every comparison is; see `Comparison.within`."""
        return all(each.within(tolerance) for each in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """The result for JSON; `excess` says what is beyond the tolerance."""
        comparisons = [{**asdict(each), "excess": each.excess(self.tolerance)} for each in self.comparisons]
        notes = list(self.notes)
        return {"equal": self.equal, "tolerance": self.tolerance, "comparisons": comparisons, "notes": notes}
