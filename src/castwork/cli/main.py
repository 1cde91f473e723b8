"""The `castwork` program: a command that fails tells the error in one line."""

from __future__ import annotations

import sys

from castwork.cli.failure import MISUSED, TOLD_MISUSED, Failure, one_line_errors


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and an exit code.

    Codes: 0 done, 1 the command did not work, 2 it was asked wrongly (unknown module, task or
    option).
    Errors that castwork does not know keep their traceback.
    """
    with one_line_errors(TOLD_MISUSED if "--lifeline" in sys.argv else MISUSED):
        try:
            from castwork.cli.program import cli
        except ModuleNotFoundError as error:
            if error.name != "typer":
                raise
            message = "the command line needs 'typer': run `pip install 'castwork[cli]'`"
            raise Failure(message, code=MISUSED) from None
        cli(prog_name="castwork")
