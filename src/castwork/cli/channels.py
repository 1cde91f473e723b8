"""`castwork publish` and `listen`: channels from the shell."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.event import Resync
from castwork.channels.receipt import Receipt
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.options import AppOption, Json, Redis
from castwork.cli.output import print_json
from castwork.cli.session import on_server
from castwork.cli.signals import on_stop_signals
from castwork.model.codec import decode_any

Name = Annotated[str, typer.Argument(metavar="CHANNEL", help="Name of the channel.")]


def publish(
    channel: Name,
    event: Annotated[str, typer.Argument(metavar="JSON", help="The event.")],
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Publish an event; every subscriber gets it."""
    try:
        value = decode_any(event.encode())
    except msgspec.DecodeError as error:
        raise Failure(f"the event is not JSON: {error}", code=MISUSED) from None

    async def run(app: App) -> Receipt:
        found = _find(app, channel)
        return await found.publish(found.decode(value))

    receipt = on_server(app, redis, run)
    if json:
        print_json({"id": receipt.id, "subscribers": receipt.subscribers})
    elif receipt.id:
        typer.echo(receipt.id)
    else:
        typer.echo(f"sent to {receipt.subscribers} connections")


def listen(
    channel: Name,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID", help="Begin behind this event; 0 for all kept."),
    ] = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Print each event of a channel as it comes, one a line, until Ctrl-C."""

    async def run(app: App) -> None:
        following = asyncio.create_task(_follow(_find(app, channel), after, as_json=json))
        on_stop_signals(following.cancel, following.cancel)
        await asyncio.wait({following})
        if not following.cancelled():
            following.result()

    on_server(app, redis, run)


async def _follow(channel: Channel[Any], after: str | None, *, as_json: bool) -> None:
    async for item in channel.listen_raw(after):
        if isinstance(item, Resync):
            if as_json:
                print_json({"resync": True, "after": item.after}, indent=0)
            else:
                typer.echo("events are missing here: more came than the history keeps", err=True)
        elif as_json:
            print_json({"id": item[0], "event": msgspec.Raw(item[1])}, indent=0)
        else:
            typer.echo(f"{item[0]} {item[1].decode(errors='replace')}".lstrip())


def _find(app: App, name: str) -> Channel[Any]:
    try:
        return app.channels[name]
    except KeyError:
        known = ", ".join(sorted(app.channels)) or "none"
        raise Failure(f"no channel {name!r}; there are: {known}", code=MISUSED) from None
