"""The `castwork` program: its commands, and errors told in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from castwork.cli.channels import listen, publish
from castwork.cli.dead import dead
from castwork.cli.doctor import doctor
from castwork.cli.enqueue import enqueue
from castwork.cli.failure import describe, exit_code
from castwork.cli.gateway import gateway
from castwork.cli.server import server
from castwork.cli.status import queues, status
from castwork.cli.tasks import tasks
from castwork.cli.top import top
from castwork.cli.up import up
from castwork.cli.worker import worker
from castwork.model.errors import CastworkError

cli = typer.Typer(
    name="castwork",
    help="One Redis, two verbs: publish what everyone must hear, enqueue what one worker must do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS: list[Callable[..., None]] = [
    *(up, worker, gateway, server),
    *(status, queues, top, doctor),
    *(enqueue, publish, listen),
]
for command in _COMMANDS:
    cli.command()(command)
cli.add_typer(tasks, name="tasks")
cli.add_typer(dead, name="dead")


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and an exit code.

    Codes: 0 done, 1 it did not work, 2 it was asked wrongly (unknown module, task or option),
    130 ended by Ctrl-C. Errors that castwork does not know keep their traceback.
    """
    try:
        cli(prog_name="castwork")
    except* CastworkError as group:  # a worker's roles fail as a group
        error = _first(group)
        typer.echo(f"castwork: {describe(error)}", err=True)
        sys.exit(exit_code(error))


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
