"""Running one command on an App's server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from castwork.app import App
from castwork.cli.failure import MISUSED, Failure
from castwork.cli.loading import load_app

T = TypeVar("T")


def on_server(name: str | None, redis: str | None, action: Callable[[App], Awaitable[T]]) -> T:
    """Load an App, connect to its server, run the action, and close.

    The App's handlers do not run: a command that looks is no member of the channels.

    Raises:
        Failure: there is no such App, or its server is a private one.
        ServerUnavailable, AuthenticationFailed, ServerUnsupported: at the start.
    """
    app = load_app(name, redis)
    refuse_private(app)

    async def run() -> T:
        try:
            await app.connections.open()
            return await action(app)
        finally:
            await app.close()

    return asyncio.run(run())


def refuse_private(app: App) -> None:
    """Refuse to work on a server that no other process could reach.

    Raises:
        Failure: the App's URL is `embedded://`.
    """
    if app.url.startswith("embedded://"):
        raise Failure(
            f"the App's server is {app.url}, which is private to one process: say --redis URL or"
            " set CASTWORK_URL (`castwork up` prints it)",
            code=MISUSED,
        )
