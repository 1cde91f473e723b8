"""The commands of the `castwork` program."""

from __future__ import annotations

from collections.abc import Callable

import typer

from castwork.cli.channels import listen, publish
from castwork.cli.dead import dead
from castwork.cli.doctor import doctor
from castwork.cli.enqueue import enqueue
from castwork.cli.gateway import gateway
from castwork.cli.server import server
from castwork.cli.status import queues, status
from castwork.cli.tasks import tasks
from castwork.cli.top import top
from castwork.cli.up import up
from castwork.cli.worker import worker

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
