"""`castwork publish`: an event from the shell."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from castwork.app import App
from castwork.channels.receipt import Receipt
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.loading import find_channel
from castwork.cli.options import AppOption, ChannelName, Json, Redis
from castwork.cli.output import print_json
from castwork.cli.session import on_server
from castwork.model.codec import decode_any


def publish(
    channel: ChannelName,
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

    async def run(app: App) -> tuple[Receipt, bool]:
        found = find_channel(app, channel)
        receipt = await found.publish(found.decode(value))
        return receipt, not app.connections.joins_slots

    receipt, is_cluster = on_server(app, redis, run)
    if json:
        print_json({"id": receipt.id, "subscribers": receipt.subscribers})
    elif receipt.id:
        typer.echo(receipt.id)
    else:
        # A node of a cluster counts its own connections only.
        typer.echo(f"sent to {'at least ' * is_cluster}{receipt.subscribers} connections")
