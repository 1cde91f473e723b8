"""Errors as the command line tells them: one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from castwork.model.errors import (
    CastworkError,
    DefinitionError,
    InvalidArguments,
    PayloadTooLarge,
    ServerUnavailable,
    UnknownName,
)
from castwork.model.safe_text import printable

#: Exit code of a command that did not work.
FAILED = 1
#: Exit code of a command with wrong arguments: running it again will not help.
MISUSED = 2
#: Exit code of a worker whose event loop, or all threads of a queue, were blocked for good; its
#: supervisor starts another.
STUCK = 70

#: The same of a process that another castwork process has started. The user's code may end with 2,
#: too, and must be started again then.
TOLD_MISUSED = 78

_MISUSES = (DefinitionError, InvalidArguments, PayloadTooLarge, UnknownName)


class Failure(CastworkError):
    """A command that cannot go on.

    Args:
        message: one line for people.
        code: exit code.
    """

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def one_line_errors(misused: int = MISUSED) -> Iterator[None]:
    """End the process for a castwork error in the block: one line on stderr and an exit code.

    Args:
        misused: the exit code that stands for `MISUSED`.
    """
    try:
        yield
    except* CastworkError as group:  # a worker's roles fail as a group
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.stderr.write(f"castwork: {one_line(error)}{_advice(error)}\n")
        code = exit_code(error)
        sys.exit(misused if code == MISUSED else code)


def one_line(error: BaseException) -> str:
    """An error in one line; of an error that quotes a log, with the log's last line."""
    lines = [printable(line.strip(), 2000) for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[0] if len(lines) == 1 else f"{lines[0]} ({lines[-1]})"


def _advice(error: BaseException) -> str:
    if isinstance(error, ServerUnavailable) and isinstance(error.__cause__, ConnectionRefusedError):
        return (
            "; start one there, as `castwork server` does, or name another by CASTWORK_URL:"
            " embedded:// brings its own"
        )
    return ""


def exit_code(error: BaseException) -> int:
    """The exit code for an error."""
    if isinstance(error, Failure):
        return error.code
    return MISUSED if isinstance(error, _MISUSES) else FAILED
