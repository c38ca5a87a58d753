from __future__ import annotations

from resnets.errors import ImageError, JobError, UserError


def test_the_errors_are_those_that_python_programs_expect() -> None:
    assert issubclass(UserError, ValueError)
    assert issubclass(JobError, RuntimeError)
    assert not issubclass(UserError, JobError)
    assert issubclass(ImageError, UserError)
