"""Recognize the messages of libraries about a lost connection between the processes of a job."""

import re

# File names in quotes may contain any word. An apostrophe within a word does not begin a quotation.
_QUOTED = re.compile(r"(?<!\w)'[^']*'|\"[^\"]*\"")
_LOST = re.compile(
    r"\b(ProcessGroup)?([Gg]loo|NCCL)\b|\bc10d\b|\b(by|with|from) (remote )?peer\b|\brendezvous\b", re.ASCII
)


def without_quotes(text: str) -> str:
    """The message of a library without its quotations, such as file names."""
    return _QUOTED.sub("''", text)


def is_connection_error(error: BaseException) -> bool:
    """Whether a library reports that the processes of a job have lost their connection."""
    return not isinstance(error, OSError) and _LOST.search(without_quotes(str(error))) is not None
