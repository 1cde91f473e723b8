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
from castwork.model.codec import encode, encode_value
from castwork.model.signature import Signature
from castwork.tasks.function import Options
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
    """Enqueue a call, and print its task id; with --wait its result instead."""
    options = Options(priority=priority, delay=delay)
    if key is not None:
        options["key"] = key

    async def run(app: App) -> tuple[Task[Any], Any]:
        function = app.tasks.get(task)
        encoded = read_arguments(function.signature, arguments or [])
        made = await function.options(**options).enqueue_encoded(encoded)
        if not wait:
            return made, None
        result = await made.result(timeout)
        return made, await made.status() if json else result

    made, found = on_server(app, redis, run)
    if wait:
        _print_result(found)
    elif json:
        print_json({"task_id": made.id, "status": "queued", "queue": made.queue})
    else:
        typer.echo(made.id)


def read_arguments(signature: Signature, words: Sequence[str]) -> bytes:
    """Read a call's arguments: one JSON object, or `name=value` words, as the types want them.

    Raises:
        Failure: they are neither.
        InvalidArguments: they do not fit the signature.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return encode_value(signature.decode(words[0].encode()))
    pairs = [word.partition("=") for word in words]
    for word, (name, equals, _) in zip(words, pairs, strict=True):
        if not equals:
            raise Failure(
                f"neither a JSON object nor name=value: {word!r}; parameters are:"
                f" {', '.join(signature.parameters) or 'none'}",
                code=MISUSED,
            )
        if name not in signature.parameters:
            raise Failure(
                f"no parameter {name!r}; there are: {', '.join(signature.parameters) or 'none'}",
                code=MISUSED,
            )
    named = {name: value for name, _, value in pairs}
    return encode_value(signature.decode_text(encode(named)))


def _print_result(result: Any) -> None:
    if isinstance(result, str):
        typer.echo(result)
    else:
        print_json(result)
