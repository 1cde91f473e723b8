"""`castwork listen`: the events of a channel in the shell."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.event import Resync
from castwork.cli.loading import find_channel
from castwork.cli.options import AppOption, ChannelName, Json, Redis
from castwork.cli.output import print_json
from castwork.cli.session import on_server
from castwork.cli.supervise.signals import on_stop_signals


def listen(
    channel: ChannelName,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID", help="Begin behind this event; 0 for all kept."),
    ] = None,
    app: AppOption = None,
    redis: Redis = None,
    json: Json = False,
) -> None:
    """Print each event of a channel as it comes, until Ctrl-C."""

    async def run(app: App) -> None:
        following = asyncio.create_task(_follow(find_channel(app, channel), after, as_json=json))
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
            print_json({"id": item.id, "event": msgspec.Raw(item.event)}, indent=0)
        else:
            typer.echo(f"{item.id} {item.event.decode(errors='replace')}".lstrip())
