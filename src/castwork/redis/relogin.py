"""Relogin: one connection that stays logged in while its credentials change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from castwork.model.errors import CastworkError
from castwork.redis.login import Login

logger = logging.getLogger(__name__)


class Relogin:
    """Sends AUTH over a connection whenever the login was renewed.

    AUTH is a call like any other: replies and subscriptions go on, and behind a blocking read
    the AUTH waits until the read has ended. A refused AUTH leaves the connection with its old
    login, and is tried again.

    Args:
        login: the credentials.
        call: sends a command over the connection, once.
        name: of the connection, for the log.
    """

    def __init__(self, login: Login, call: Callable[..., Any], *, name: str) -> None:
        self._login = login
        self._call = call
        self._name = name
        self._generation = 0
        self._is_connected = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the server has yet to answer to a login; it may ask others, and take its time."""
        return self._task is not None

    def connected(self, generation: int) -> None:
        """Note the login of a new connection, and send a newer login that came meanwhile."""
        if self._look not in self._login.on_renewed:
            self._login.on_renewed.append(self._look)
        self._generation = generation
        self._is_connected = True
        self._look()

    def lost(self) -> None:
        """Note that there is no connection."""
        self._is_connected = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Stop watching the login."""
        self.lost()
        if self._look in self._login.on_renewed:
            self._login.on_renewed.remove(self._look)
        if self._task is not None:
            self._task.cancel()

    def _look(self) -> None:
        is_behind = self._generation != self._login.generation
        if self._is_connected and is_behind and self._task is None:
            self._task = asyncio.ensure_future(self._log_in())
            self._task.add_done_callback(self._done)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._task = None
        if self._timer is None:
            self._look()  # the login may have been renewed again meanwhile

    async def _log_in(self) -> None:
        generation, credentials = self._login.current
        if credentials is None:
            return
        try:
            await self._call("AUTH", credentials.user or "default", credentials.password)
        except CastworkError as error:
            if self._is_connected:
                self._try_again(error)
        else:
            self._generation = generation

    def _try_again(self, error: Exception) -> None:
        logger.warning("connection %s keeps its old login: %s", self._name, error)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._login.retry_after, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._look()
