"""`castwork top`: the queues and workers, refreshed each second."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from castwork.app import App
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.options import AppOption, Json, ModuleToo, Redis
from castwork.cli.output import ago, make_table, print_json
from castwork.cli.overview import (
    FOREIGN_COLUMNS,
    QUEUE_COLUMNS,
    WORKER_COLUMNS,
    Overview,
    foreign_rows,
    queue_rows,
    read_overview,
    worker_rows,
)
from castwork.cli.session import on_server
from castwork.cli.supervise.signals import on_stop_signals
from castwork.model.errors import ConnectionFailed

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Seconds between refreshes.
_INTERVAL = 1.0

_LISTED = 20


def top(
    module: ModuleToo = None, app: AppOption = None, redis: Redis = None, json: Json = False
) -> None:
    """Watch queues and workers; q or Ctrl-C ends. With --json one line each second."""
    if not json and not sys.stdout.isatty():
        raise Failure("top draws on a terminal; say --json for one line each second", code=MISUSED)
    on_server(module or app, redis, _stream if json else _watch)


async def _stream(app: App) -> None:
    stop = asyncio.Event()
    on_stop_signals(stop.set, stop.set)
    while not stop.is_set():
        try:
            print_json(await read_overview(app), indent=0)
        except ConnectionFailed:
            continue  # the call has waited for the server, so no pause; the link reconnects
        await _pause(stop)


async def _watch(app: App) -> None:
    from rich.live import Live

    stop = asyncio.Event()
    on_stop_signals(stop.set, stop.set)
    with _keys(stop), Live(screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            try:
                live.update(_draw(await read_overview(app)), refresh=True)
            except ConnectionFailed as error:
                live.update(f"waiting for the server: {error}", refresh=True)
            await _pause(stop)


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_INTERVAL):
            await stop.wait()
    except TimeoutError:
        pass


def _draw(overview: Overview) -> RenderableType:
    from rich.console import Group

    running = [
        (task["task_id"], task["task"], task["attempt"], ago(task["started_at"]), worker["id"])
        for worker in overview.workers
        if not worker["lost"]  # what a lost worker last said it ran may run elsewhere by now
        for task in worker["running"]
    ]
    return Group(
        f"{overview.server}    q ends\n",
        make_table("queues", QUEUE_COLUMNS, queue_rows(overview.queues)),
        "",
        make_table("workers", WORKER_COLUMNS, worker_rows(overview.workers)),
        "",
        *_other_programs(overview),
        make_table("running", ("task", "function", "attempt", "for", "on"), running[:_LISTED]),
    )


def _other_programs(overview: Overview) -> list[RenderableType]:
    """Who else reads adopted streams, if anybody does."""
    others = foreign_rows(overview.queues)
    return [make_table("other programs", FOREIGN_COLUMNS, others), ""] if others else []


@contextmanager
def _keys(stop: asyncio.Event) -> Iterator[None]:
    """Listen for a q while drawing; keys are not echoed meanwhile."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def on_key() -> None:
        if sys.stdin.read(1) in ("q", "Q", ""):
            stop.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, on_key)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
