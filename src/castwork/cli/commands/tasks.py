"""`castwork tasks`: one task, by its id."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from castwork.app import App
from castwork.cli.failure import FAILED
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import ago, print_json
from castwork.cli.session import on_server
from castwork.model.record import TaskStatus
from castwork.model.states import TaskState

tasks = typer.Typer(help="Look at a task, or cancel it.", no_args_is_help=True)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task id.")]


@tasks.command()
def show(task_id: TaskId, app: AppOption = None, redis: Redis = None, json: Json = False) -> None:
    """Show a task's status, and its result or error."""

    async def read(app: App) -> TaskStatus:
        return await app.get_task(task_id).status()

    found = on_server(app, redis, read)
    if json:
        print_json(found)
    else:
        _print(found)


@tasks.command()
def cancel(task_id: TaskId, app: AppOption = None, redis: Redis = None, json: Json = False) -> None:
    """Cancel a task, waiting or running; exit code 1 if it ends otherwise or goes on."""

    async def request(app: App) -> TaskStatus:
        task = app.get_task(task_id)
        await task.cancel()
        return await task.status()

    found = on_server(app, redis, request)
    if json:
        print_json(found)
    else:
        typer.echo(f"{task_id} is {found.status.value}")
    if found.status is not TaskState.CANCELLED:
        raise typer.Exit(FAILED)


def _print(status: TaskStatus) -> None:
    lines = [
        ("task", status.task_id),
        ("status", status.status.value),
        ("function", status.task),
        ("queue", status.queue),
        ("attempts", str(status.attempts)),
        ("worker", status.worker),
        ("started", _when(status.started_at)),
        ("finished", _when(status.finished_at)),
    ]
    if status.result is not msgspec.UNSET:
        lines.append(("result", bytes(status.result).decode()))
    if status.error is not None:
        lines.append(("error", f"{status.error.type}: {status.error.message}"))
        if status.error.traceback:
            lines.append(("", status.error.traceback.rstrip().replace("\n", "\n" + " " * 10)))
    for name, value in lines:
        if value:
            typer.echo(f"{name:<10}{value}")


def _when(moment: float | None) -> str:
    return "" if moment is None else f"{ago(moment)} ago"
