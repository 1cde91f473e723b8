"""PlainClients: redis-py clients on the app's own server, for what a program keeps there."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from castwork.model.credentials import Credentials, CredentialSource
from castwork.redis.address import parse_url
from castwork.redis.portal import portal

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis


class PlainClients:
    """Makes one client per event loop, and one for threads; with redis-py's own defaults.

    Args:
        find_url: returns the server's URL, and may start the embedded server.
        credentials: gives the login where the URL has none.
    """

    def __init__(self, find_url: Callable[[], str], credentials: CredentialSource | None) -> None:
        self._find_url = find_url
        self._source = credentials
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncRedis] = (
            WeakKeyDictionary()
        )
        self._for_threads: Redis | None = None
        self._pid = 0

    def on_loop(self) -> AsyncRedis:
        """The client of the running event loop.

        Raises:
            ModuleNotFoundError: redis-py is not installed.
            RuntimeError: no event loop runs.
        """
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            client = _redis().asyncio.Redis.from_url(*self._arguments(), **self._login())
            self._by_loop[loop] = client
        return client

    def for_threads(self) -> Redis:
        """The client for code without an event loop; safe to share among threads.

        Raises:
            ModuleNotFoundError: redis-py is not installed.
        """
        if self._for_threads is None or self._pid != os.getpid():
            client = _redis().Redis.from_url(*self._arguments(), **self._login())
            self._for_threads, self._pid = client, os.getpid()
        return self._for_threads

    async def close(self) -> None:
        """Close the client of this loop, and that for threads; both are made anew when needed."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        threads, self._for_threads = self._for_threads, None
        if threads is not None and self._pid == os.getpid():
            threads.close()

    def _arguments(self) -> tuple[str]:
        """The URL as redis-py reads it, which does not know Valkey's scheme."""
        return (self._find_url().replace("valkey", "redis", 1),)

    def _login(self) -> dict[str, Any]:
        target = parse_url(self._find_url())
        if self._source is None or target.password is not None or target.is_private:
            return {}
        return {"credential_provider": _provider(self._source)}


def _redis() -> Any:
    try:
        import redis.asyncio
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "app.redis needs redis-py: run `pip install 'castwork[redis]'`", name=error.name
        ) from None
    return redis


def _provider(source: CredentialSource) -> Any:
    """The source as redis-py asks it, at each new connection."""
    from redis.credentials import CredentialProvider

    async def ask() -> tuple[str, str]:
        given = source()
        found = await given if inspect.isawaitable(given) else given
        assert isinstance(found, Credentials)
        return found.user or "default", found.password

    class Provider(CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            return portal.run("get_credentials", ask)

        async def get_credentials_async(self) -> tuple[str, str]:
            return await ask()

    return Provider()
