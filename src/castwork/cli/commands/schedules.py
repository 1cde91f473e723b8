"""`castwork schedules`: tasks that run again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
import typer

from castwork.app import App
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import print_json, print_table, until
from castwork.cli.session import on_server
from castwork.model.errors import AmbiguousId, UnknownName
from castwork.tasks.schedule import Schedule

T = TypeVar("T")

schedules = typer.Typer(help="Look at schedules, and hold or run them.", no_args_is_help=True)

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule, or QUEUE:ID.")]


@schedules.command(name="list")
def list_all(app: AppOption = None, redis: Redis = None, json: Json = False) -> None:
    """List the schedules, and when each runs next."""

    async def read(app: App) -> list[Schedule]:
        return await app.schedules()

    found = on_server(app, redis, read)
    if json:
        print_json([_plain(one) for one in found])
        return
    rows = [[one.id, one.queue, one.task, _times(one), _next(one)] for one in found]
    print_table("schedules", ["id", "queue", "task", "when", "next"], rows)


@schedules.command()
def pause(name: ScheduleId, app: AppOption = None, redis: Redis = None) -> None:
    """Let a schedule not run until it is resumed."""
    _act(app, redis, name, Schedule.pause)
    typer.echo(f"{name} is paused")


@schedules.command()
def resume(name: ScheduleId, app: AppOption = None, redis: Redis = None) -> None:
    """Let a schedule run again."""
    _act(app, redis, name, Schedule.resume)
    typer.echo(f"{name} goes on")


@schedules.command()
def remove(name: ScheduleId, app: AppOption = None, redis: Redis = None) -> None:
    """Forget a schedule; a worker whose code declares it brings it back."""
    _act(app, redis, name, Schedule.remove)
    typer.echo(f"{name} is removed")


@schedules.command()
def run(name: ScheduleId, app: AppOption = None, redis: Redis = None) -> None:
    """Enqueue one run now, and print its task id."""
    task = _act(app, redis, name, Schedule.run_now)
    typer.echo(task.id)


def _act(
    app: str | None, redis: str | None, name: str, action: Callable[[Schedule], Awaitable[T]]
) -> T:
    async def act(app: App) -> T:
        return await action(find_schedule(await app.schedules(), name))

    return on_server(app, redis, act)


def find_schedule(there: Sequence[Schedule], name: str) -> Schedule:
    """The schedule of an id, with `QUEUE:` before it where several queues have the id.

    Raises:
        UnknownName: there is none.
        AmbiguousId: several queues have one.
    """
    found = [one for one in there if name in (one.id, f"{one.queue}:{one.id}")]
    if not found:
        names = ", ".join(one.id for one in there) or "none"
        raise UnknownName(f"no schedule is named {name!r}; there are: {names}")
    if len(found) > 1:
        names = " or ".join(f"{one.queue}:{one.id}" for one in found)
        raise AmbiguousId(f"schedules of several queues are named {name!r}: say {names}")
    return found[0]


def _plain(one: Schedule) -> dict[str, object]:
    return {
        "id": one.id,
        "queue": one.queue,
        "task": one.task,
        "when": msgspec.to_builtins(one.when),
        "at": one.at,
        "declared": one.is_declared,
    }


def _times(one: Schedule) -> str:
    """The times for people, as `0 3 * * * Europe/Berlin`."""
    plain = msgspec.to_builtins(one.when)
    if "line" in plain:
        return f"{plain['line']} {plain['timezone']}"
    return f"every {plain['seconds']:g} s"


def _next(one: Schedule) -> str:
    return "paused" if one.at is None else f"in {until(one.at)}"
