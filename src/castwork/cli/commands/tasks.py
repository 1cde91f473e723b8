"""`castwork tasks`: one task, by its id."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer

from castwork.app import App
from castwork.cli.failure import FAILED
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import ago, print_json
from castwork.cli.session import on_server
from castwork.model.codec import encode_value
from castwork.model.errors import UndecodableEntry
from castwork.model.record import StepStatus, TaskStatus
from castwork.model.safe_text import printable
from castwork.model.states import TaskState

tasks = typer.Typer(help="Look at a task, or cancel it.", no_args_is_help=True)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task id.")]


@tasks.command()
def show(task_id: TaskId, app: AppOption = None, redis: Redis = None, json: Json = False) -> None:
    """Show a task's status, arguments, and result or error."""

    async def read(app: App) -> tuple[TaskStatus, Any]:
        task = app.get_task(task_id)
        status = await task.status()
        try:
            return status, await task.arguments()
        except UndecodableEntry as error:
            return status, str(error)

    found, arguments = on_server(app, redis, read)
    if json:
        found.arguments = arguments  # there while the task waits, runs or is dead
        print_json(found)
    else:
        _print(found, arguments)


@tasks.command()
def cancel(task_id: TaskId, app: AppOption = None, redis: Redis = None, json: Json = False) -> None:
    """Cancel a task, waiting or running.

    Exit code 1 if it ends otherwise or goes on.
    """

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


def _print(status: TaskStatus, arguments: Any) -> None:
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
    if arguments is not None:
        lines.append(("arguments", printable(encode_value(arguments).decode(), 5000)))
    lines += [("step", _step(step)) for step in status.steps]
    if status.result is not msgspec.UNSET:
        lines.append(("result", printable(bytes(status.result).decode(), sys.maxsize)))
    if status.error is not None:
        lines.append(("error", printable(f"{status.error.type}: {status.error.message}", 2000)))
        if status.error.traceback:
            traceback = status.error.traceback.rstrip().split("\n")
            lines += [("", printable(line, 500)) for line in traceback]
    for name, value in lines:
        if value:
            typer.echo(f"{name:<10} {value}")


def _step(step: StepStatus) -> str:
    told = step.task_id or f"{step.ended} of {step.count or 'as yet unknown'}"
    return printable(f"{step.task} in {step.queue}: {step.status.value} ({told})")


def _when(moment: float | None) -> str:
    return "" if moment is None else f"{ago(moment)} ago"
