"""`castwork enqueue`: a task from the shell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from castwork.app import App
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import print_json
from castwork.cli.session import on_server
from castwork.model.call_options import CallOptions
from castwork.model.errors import InvalidArguments
from castwork.model.states import TaskState
from castwork.tasks.calls import enqueue_call, find_function
from castwork.tasks.task import Task


def enqueue(  # noqa: PLR0913, PLR0917 - options are arguments
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name of the task function.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="JSON_OR_KEY=VALUE...", help="A JSON object, or name=value."),
    ] = None,
    app: AppOption = None,
    redis: Redis = None,
    priority: Annotated[str, typer.Option(help="high, normal or low.")] = "normal",
    delay: Annotated[float, typer.Option(metavar="SECONDS", help="Queue it later.")] = 0.0,
    key: Annotated[str | None, typer.Option(help="Idempotency key.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long to wait at most.")
    ] = None,
    json: Json = False,
) -> None:
    """Enqueue a call; print its task id, or with --wait its result."""
    options = CallOptions(priority=priority, delay=delay)
    if key is not None:
        options["key"] = key

    async def run(app: App) -> None:
        parameters = find_function(app.tasks, task).signature.parameters
        given = read_arguments(parameters, arguments or [])
        try:
            made, status = await enqueue_call(app.tasks, task, given, options)
        except InvalidArguments as error:
            named = ", ".join(parameters) or "none"
            raise Failure(f"{task}: {error}; parameters are: {named}", code=MISUSED) from error
        if not wait:
            _print_task(made, status, as_json=json)
        elif json:
            await made.result(timeout)  # raises for a task that ended without a result
            print_json(await made.status())
        else:
            _print_result(await made.result(timeout))

    on_server(app, redis, run)


def read_arguments(parameters: Sequence[str], words: Sequence[str]) -> bytes | dict[str, str]:
    """Read a call's arguments: one JSON object, or text by name from `name=value` words.

    Args:
        parameters: named where the words are neither.
        words: what the user typed.

    Raises:
        Failure: the words are neither.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return words[0].encode()
    named = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Failure(
                f"neither a JSON object nor name=value: {word!r}; parameters are:"
                f" {', '.join(parameters) or 'none'}",
                code=MISUSED,
            )
        named[name] = value
    return named


def _print_task(task: Task[Any], status: TaskState | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"task_id": task.id, "status": status, "queue": task.queue})
    else:
        typer.echo(task.id)


def _print_result(result: Any) -> None:
    if isinstance(result, str):
        typer.echo(result)
    else:
        print_json(result)
