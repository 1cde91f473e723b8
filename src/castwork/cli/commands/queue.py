"""`castwork queue`: holds, empties or awaits one queue."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from castwork.app import App
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.options import AppOption, Redis
from castwork.cli.session import on_server
from castwork.model.errors import UnknownName
from castwork.tasks.queue import Queue

queue = typer.Typer(help="Pause, resume, purge or await a queue.", no_args_is_help=True)

QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="Name of the queue.")]


@queue.command()
def pause(name: QueueName, app: AppOption = None, redis: Redis = None) -> None:
    """Let no worker begin tasks of a queue, until it is resumed."""

    async def act(app: App) -> None:
        await _find(app, name).pause()

    on_server(app, redis, act)
    typer.echo(f"{name} is paused: castwork queue resume {name}")


@queue.command()
def resume(name: QueueName, app: AppOption = None, redis: Redis = None) -> None:
    """Let workers begin tasks of a queue again."""

    async def act(app: App) -> None:
        await _find(app, name).resume()

    on_server(app, redis, act)
    typer.echo(f"{name} goes on")


@queue.command()
def purge(
    name: QueueName,
    app: AppOption = None,
    redis: Redis = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Cancel all tasks of a queue that wait; asks first."""
    if not yes:
        if not sys.stdin.isatty():
            raise Failure("purge cancels all that waits: say --yes, too", code=MISUSED)
        typer.confirm(f"Cancel all tasks that wait in {name}?", abort=True)

    async def act(app: App) -> int:
        return await _find(app, name).purge()

    count = on_server(app, redis, act)
    typer.echo(f"{count} task{'' if count == 1 else 's'} cancelled")


@queue.command()
def wait(
    name: QueueName,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="How long to wait at most.")
    ] = None,
    app: AppOption = None,
    redis: Redis = None,
) -> None:
    """Wait until no task of a queue waits for a worker, and none runs."""

    async def act(app: App) -> None:
        await _find(app, name).until_idle(timeout)

    on_server(app, redis, act)


def _find(app: App, name: str) -> Queue:
    """The queue of a name, of those that the app has."""
    known = [store.queue.name for store in app.served()]
    if name not in known:
        there = ", ".join(sorted(set(known))) or "none"
        raise UnknownName(f"no queue is named {name!r}; there are: {there}")
    return app.queue(name)
