"""The `castwork` program: what goes wrong in it is told in one line."""

from __future__ import annotations

import sys
from typing import NoReturn

from castwork.cli.failure import MISUSED, describe, exit_code
from castwork.model.errors import CastworkError


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and an exit code.

    Codes: 0 done, 1 it did not work, 2 it was asked wrongly (unknown module, task or option).
    Errors that castwork does not know keep their traceback.
    """
    try:
        from castwork.cli.commands import cli
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        _leave("the command line needs 'typer': run `pip install 'castwork[cli]'`", MISUSED)
    try:
        cli(prog_name="castwork")
    except* CastworkError as group:  # a worker's roles fail as a group
        first = _first(group)
        _leave(describe(first), exit_code(first))


def _leave(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"castwork: {message}\n")
    sys.exit(code)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
