"""Running one command on an App's server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from castwork.app import App
from castwork.cli.failure import Failure, one_line
from castwork.cli.loading import load_app
from castwork.model.errors import ServerUnavailable

T = TypeVar("T")


def on_server(name: str | None, redis: str | None, action: Callable[[App], Awaitable[T]]) -> T:
    """Load an App, connect to its server, run the action, and close.

    The App's handlers do not run: a command that looks is no member of the channels.

    Raises:
        Failure: there is no such App, or its server is an embedded one that does not run.
        ServerUnavailable, AuthenticationFailed, ServerUnsupported: at the start.
    """
    app = load_app(name, redis)
    join_embedded(app)

    async def run() -> T:
        try:
            await app.connections.open()
            return await action(app)
        finally:
            await app.close()

    return asyncio.run(run())


def join_embedded(app: App) -> None:
    """Join the project's embedded server, where that is the App's.

    A command does not start one: the server would be empty, and end with the command.

    Raises:
        Failure: it does not run.
    """
    if not app.server_url.is_embedded:
        return
    try:
        app.server_url.find(or_start=False)
    except ServerUnavailable as error:
        raise Failure(
            f"{one_line(error)}: start `castwork up`, a worker or a program of this project, or"
            " name a server with --redis URL or CASTWORK_URL"
        ) from error
