"""`castwork dead`: look at dead letters, queue them again, delete them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import typer

from castwork.app import App
from castwork.cli.failure import FAILED, MISUSED, Failure
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import print_json, print_table
from castwork.cli.session import on_server
from castwork.model.errors import TaskNotFound, UndecodableEntry
from castwork.tasks.dead_letters import DeadLetter, DeadLetters, find_letter

#: Does something to one dead letter, given its id.
Action = Callable[[DeadLetters, str], Awaitable[Any]]

#: Letters that are handled at once, where all are.
_TOGETHER = 20

dead = typer.Typer(help="Tasks that ran out of attempts or can never run.", no_args_is_help=True)

LetterId = Annotated[str, typer.Argument(metavar="ID", help="Id of the dead letter or its task.")]
MaybeId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Id of the dead letter or its task.")
]
All = Annotated[bool, typer.Option("--all", help="All of them, or all of --queue.")]
OfQueue = Annotated[str | None, typer.Option("--queue", help="Of this queue only.")]


@dead.command("list")
def list_letters(
    queue: OfQueue = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many per queue.")] = 100,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """List dead letters, the newest first."""

    async def read(app: App) -> list[DeadLetter]:
        of_queue = _of_queue(app, queue)
        return [x for letters in of_queue async for page in letters.pages(limit) for x in page]

    found = on_server(app, redis, read)
    if json:
        print_json(found)
        return
    columns = ("id", "task", "function", "queue", "attempts", "error")
    rows = [(x.id, x.task_id, x.task, x.queue, x.attempts, _last_error(x)) for x in found]
    print_table("dead letters", columns, rows)


@dead.command()
def show(
    letter_id: LetterId,
    queue: OfQueue = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Show a dead letter with its entry and its errors."""

    async def read(app: App) -> DeadLetter:
        _, letter = await find_letter(_of_queue(app, queue), letter_id)
        return letter

    # The fields differ from letter to letter: JSON is also the form for people.
    _ = json
    print_json(on_server(app, redis, read))


@dead.command()
def replay(
    letter_id: MaybeId = None,
    every: All = False,
    queue: OfQueue = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Queue a dead letter again, with all its attempts."""
    _for_each(letter_id, every, queue, (app, redis, json), DeadLetters.replay, "queued again")


@dead.command()
def purge(
    letter_id: MaybeId = None,
    every: All = False,
    queue: OfQueue = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do not ask.")] = False,
) -> None:
    """Delete a dead letter for good; --all asks first."""
    if every and not yes:
        if not sys.stdin.isatty():
            raise Failure("--all deletes for good: say --yes, too", code=MISUSED)
        typer.confirm(f"Delete all dead letters{f' of {queue}' if queue else ''}?", abort=True)
    _for_each(letter_id, every, queue, (app, redis, json), DeadLetters.purge, "deleted")


def _for_each(
    letter_id: str | None,
    every: bool,
    queue: str | None,
    common: tuple[str | None, str | None, bool],
    action: Action,
    done: str,
) -> None:
    """Do something to one dead letter or to all; exit code 1 if that cannot be done to one."""
    if (letter_id is None) is not every:
        raise Failure("say either the ID of a dead letter or --all", code=MISUSED)
    name, redis, json = common

    async def run(app: App) -> tuple[list[str], dict[str, str]]:
        queues = _of_queue(app, queue)
        if letter_id is None:
            return await _to_all(queues, action)
        letters, letter = await find_letter(queues, letter_id)
        await action(letters, letter.id)
        return [letter_id], {}

    handled, refused = on_server(name, redis, run)
    if json:
        print_json({"done": handled, "refused": refused})
    else:
        for one in handled:
            typer.echo(f"{one} is {done}")
        for one, reason in refused.items():
            typer.echo(f"{one} stays: {reason}", err=True)
    if refused:
        raise typer.Exit(FAILED)


async def _to_all(
    queues: Sequence[DeadLetters], action: Action
) -> tuple[list[str], dict[str, str]]:
    """Do something to all dead letters that are there now; those that come meanwhile stay."""
    handled: list[str] = []
    refused: dict[str, str] = {}
    for letters in queues:
        async for page in letters.pages():
            for start in range(0, len(page), _TOGETHER):
                some = page[start : start + _TOGETHER]
                ends = await asyncio.gather(
                    *(action(letters, letter.id) for letter in some), return_exceptions=True
                )
                for letter, end in zip(some, ends, strict=True):
                    if not isinstance(end, BaseException):
                        handled.append(letter.id)
                    elif isinstance(end, (TaskNotFound, UndecodableEntry)):
                        refused[letter.id] = str(end)
                    else:
                        raise end
    return handled, refused


def _of_queue(app: App, queue: str | None) -> list[DeadLetters]:
    """The dead letters of all queues, or of those of one name.

    Raises:
        Failure: there is no such queue.
    """
    found = [one for one in app.dead_letters() if queue in (None, one.queue)]
    if queue is not None and not found:
        raise Failure(f"no queue is named {queue!r}", code=MISUSED)
    return found


def _last_error(letter: DeadLetter) -> str:
    if not letter.errors:
        return ""
    error = letter.errors[-1]
    if isinstance(error, dict):
        return f"{error.get('type', '')}: {error.get('message', '')}"[:100]
    return str(error)[:100]
