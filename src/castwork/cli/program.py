"""The `castwork` program as an object that typer runs: its commands are registered here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from castwork.cli.commands.dead import dead
from castwork.cli.commands.doctor import doctor
from castwork.cli.commands.enqueue import enqueue
from castwork.cli.commands.gateway import gateway
from castwork.cli.commands.listen import listen
from castwork.cli.commands.publish import publish
from castwork.cli.commands.queue import queue
from castwork.cli.commands.queues import queues
from castwork.cli.commands.schedules import schedules
from castwork.cli.commands.server import server
from castwork.cli.commands.status import status
from castwork.cli.commands.tasks import tasks
from castwork.cli.commands.top import top
from castwork.cli.commands.up import up
from castwork.cli.commands.worker import worker

cli = typer.Typer(
    name="castwork",
    epilog="Begin with: castwork up my_module:app",
    help="One Redis, two verbs: publish what everyone must hear, enqueue what one worker must do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"castwork {version('castwork')}")
        raise typer.Exit


@cli.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """One Redis, two verbs: publish what everyone must hear, enqueue what one worker must do."""


_COMMANDS: list[Callable[..., None]] = [
    *(up, worker, gateway, server),
    *(status, queues, top, doctor),
    *(enqueue, publish, listen),
]
for command in _COMMANDS:
    cli.command()(command)
cli.add_typer(tasks, name="tasks")
cli.add_typer(dead, name="dead")
cli.add_typer(queue, name="queue")
cli.add_typer(schedules, name="schedules")
