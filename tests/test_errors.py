"""The two errors, and the suggestion."""

from __future__ import annotations

from resnets.errors import ImageError, JobError, UserError, suggestion


def test_a_near_name_is_suggested() -> None:
    assert suggestion("resnet5O", ["resnet50", "wide_resnet50_2", "tiny"]) == " Did you mean 'resnet50'?"


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    assert suggestion("efficientnet", ["resnet50", "tiny"]) == ""
    assert suggestion("resnet50", []) == ""


def test_the_errors_are_those_that_python_programs_expect() -> None:
    assert issubclass(UserError, ValueError)
    assert issubclass(JobError, RuntimeError)
    assert not issubclass(UserError, JobError)
    assert issubclass(ImageError, UserError)
