"""Training with torch.compile: is there a C++ compiler, and its errors as one line."""

import contextlib
from collections.abc import Iterator

from resnets.errors import JobError, UserError


def check_compiler() -> None:
    """Raise UserError where torch.compile has no C++ compiler, before anything else is done for a run."""
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise UserError(
            "`speed.compile=true` needs a C++ compiler, and neither g++ nor the one that the variable CXX names was found. "
            "Install one, or leave the setting out."
        ) from error


@contextlib.contextmanager
def explain_compile_errors(enabled: bool) -> Iterator[None]:
    """Turn an error of torch.compile within the block into a JobError of one line."""
    if not enabled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2])[:200].rstrip(". ") or type(error).__name__
        problem = f"torch.compile cannot compile this network: {reason}"
        raise JobError(f"{problem}. Leave out `speed.compile=true`.") from error
