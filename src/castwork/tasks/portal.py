"""Portal: the way in for code that has no event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

from castwork.model.settings import Limits, LinkSettings
from castwork.redis.connections import Connections
from castwork.tasks.producer import Plan, Producer


class Portal:
    """Runs an event loop with its own connections in a daemon thread, started on first use.

    Args:
        find_url: returns the server's URL.
    """

    def __init__(self, find_url: Callable[[], str], link: LinkSettings, limits: Limits) -> None:
        self._connections = Connections(find_url, link)
        self._producer = Producer(self._connections, limits)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def enqueue(self, plan: Plan, args: bytes) -> str:
        """Enqueue one task from any thread; raises as `Producer.enqueue`."""
        work = self._producer.enqueue(plan, args)
        return asyncio.run_coroutine_threadsafe(work, self._running_loop()).result()

    def close(self) -> None:
        """Close the connections and end the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(self._connections.close(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # threads do not survive a fork
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="castwork-portal", daemon=True
                )
                self._thread.start()
            return self._loop
