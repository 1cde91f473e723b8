"""`castwork dead`: look at dead letters, queue them again, delete them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from castwork.app import App
from castwork.cli.failure import FAILED, MISUSED, Failure
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import print_json, print_table
from castwork.cli.session import on_server
from castwork.tasks.dead_choice import DeadChoice, DeadGroup, for_each
from castwork.tasks.dead_letters import DeadLetter, DeadLetters, find_letter

#: Does something to one dead letter, given its id.
Action = Callable[[DeadLetters, str], Awaitable[Any]]

dead = typer.Typer(help="Tasks that ran out of attempts or can never run.", no_args_is_help=True)

LetterId = Annotated[str, typer.Argument(metavar="ID", help="Id of the dead letter or its task.")]
MaybeId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Id of the dead letter or its task.")
]
All = Annotated[bool, typer.Option("--all", help="All of them, or all of --queue.")]
OfQueue = Annotated[str | None, typer.Option("--queue", help="Of this queue only.")]
OfFunction = Annotated[
    str | None, typer.Option("--function", help="With --all: of this task function only.")
]
OfError = Annotated[
    str | None, typer.Option("--error", help="With --all: of this type of error only.")
]


class _Doing(NamedTuple):
    """What is done to dead letters, and to which.

    Attributes:
        action: does it to one, given its id.
        done: says that it is done.
        choice: which of all are meant.
        pace: letters per second at most.
    """

    action: Action
    done: str
    choice: DeadChoice
    pace: float | None = None


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
def groups(
    queue: OfQueue = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Count the dead letters by function and error."""

    async def read(app: App) -> list[tuple[str, DeadGroup]]:
        of_queue = _of_queue(app, queue)
        return [(letters.queue, one) for letters in of_queue for one in await letters.groups()]

    found = on_server(app, redis, read)
    if json:
        print_json([{"queue": name, **msgspec.structs.asdict(one)} for name, one in found])
        return
    columns = ("queue", "function", "error", "count", "newest")
    rows = [(name, one.task, one.error, one.count, one.newest) for name, one in found]
    print_table("dead letters", columns, rows)


@dead.command()
def replay(  # noqa: PLR0913, PLR0917 - options are arguments
    letter_id: MaybeId = None,
    every: All = False,
    queue: OfQueue = None,
    function: OfFunction = None,
    error: OfError = None,
    pace: Annotated[
        float | None, typer.Option(help="With --all: so many per second at most.")
    ] = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Queue a dead letter again, with all its attempts."""
    doing = _Doing(DeadLetters.replay, "queued again", DeadChoice(function, error), pace)
    _for_each(letter_id, every, queue, (app, redis, json), doing)


@dead.command()
def purge(  # noqa: PLR0913, PLR0917 - options are arguments
    letter_id: MaybeId = None,
    every: All = False,
    queue: OfQueue = None,
    function: OfFunction = None,
    error: OfError = None,
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
    doing = _Doing(DeadLetters.purge, "deleted", DeadChoice(function, error))
    _for_each(letter_id, every, queue, (app, redis, json), doing)


def _for_each(
    letter_id: str | None,
    every: bool,
    queue: str | None,
    common: tuple[str | None, str | None, bool],
    doing: _Doing,
) -> None:
    """Do something to one dead letter or to all; exit code 1 if that cannot be done to one."""
    if (letter_id is None) is not every:
        raise Failure("say either the ID of a dead letter or --all", code=MISUSED)
    if letter_id is not None and (doing.choice != DeadChoice() or doing.pace is not None):
        raise Failure("--function, --error and --pace go with --all", code=MISUSED)
    name, redis, json = common

    async def run(app: App) -> tuple[list[str], dict[str, str]]:
        queues = _of_queue(app, queue)
        if letter_id is None:
            return await _to_all(queues, doing)
        letters, letter = await find_letter(queues, letter_id)
        await doing.action(letters, letter.id)
        return [letter_id], {}

    handled, refused = on_server(name, redis, run)
    if json:
        print_json({"done": handled, "refused": refused})
    else:
        for one in handled:
            typer.echo(f"{one} is {doing.done}")
        for one, reason in refused.items():
            typer.echo(f"{one} stays: {reason}", err=True)
        if not handled and not refused:
            typer.echo("no dead letters" + " of that choice" * (doing.choice != DeadChoice()))
    if refused:
        raise typer.Exit(FAILED)


async def _to_all(queues: Sequence[DeadLetters], doing: _Doing) -> tuple[list[str], dict[str, str]]:
    """Do something to all dead letters that are there now; those that come meanwhile stay."""
    handled: list[str] = []
    refused: dict[str, str] = {}
    for letters in queues:
        action = partial(doing.action, letters)
        async for letter_id, reason in for_each(letters, doing.choice, action, doing.pace):
            if reason:
                refused[letter_id] = reason
            else:
                handled.append(letter_id)
    return handled, refused


def _of_queue(app: App, queue: str | None) -> list[DeadLetters]:
    """The dead letters of all queues, or of those of one name.

    Raises:
        Failure: there is no such queue.
    """
    every = app.dead_letters()
    found = [one for one in every if queue in {None, one.queue}]
    if queue is not None and not found:
        there = ", ".join(sorted({one.queue for one in every})) or "none"
        raise Failure(f"no queue is named {queue!r}; there are: {there}", code=MISUSED)
    return found


def _last_error(letter: DeadLetter) -> str:
    if not letter.errors:
        return ""
    error = letter.errors[-1]
    if isinstance(error, dict):
        return f"{error.get('type', '')}: {error.get('message', '')}"[:100]
    return str(error)[:100]
