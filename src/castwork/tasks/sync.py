"""SyncProducers: enqueues for code that has no event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

from castwork.model.credentials import CredentialSource
from castwork.model.errors import NotOpen
from castwork.model.queue import Queue
from castwork.model.settings import AppSettings
from castwork.redis.connections import Connections
from castwork.redis.server import Needs
from castwork.store.queue_store import QueueStore
from castwork.tasks.plan import Plan
from castwork.tasks.producer import Producer


class SyncProducers:
    """Producers on an event loop of their own, with connections of their own.

    The loop runs in a daemon thread that is started on first use.

    Args:
        find_url: returns the server's URL.
        settings: namespace, timeouts and bounds.
        credentials: gives and renews the login.
    """

    def __init__(
        self,
        find_url: Callable[[], str],
        settings: AppSettings,
        *,
        credentials: CredentialSource | None = None,
    ) -> None:
        self._settings = settings
        self._connections = Connections(
            find_url,
            settings.link,
            credentials=credentials,
            needs=lambda: Needs(allows_eviction=settings.allow_eviction),
        )
        self._producers: dict[Queue, Producer] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def enqueue(self, queue: Queue, plan: Plan, args: bytes) -> str:
        """Enqueue one task from any thread, and return its id; raises as `Producer.enqueue`."""
        if sys.is_finalizing():  # daemon threads are frozen by now, the loop's among them
            raise NotOpen("the interpreter is ending: nothing can be enqueued any more")
        with self._lock:  # so that `close` comes before or after this, not in between
            loop = self._running_loop()
            under_way = asyncio.run_coroutine_threadsafe(self._enqueue(queue, plan, args), loop)
        try:
            return under_way.result()
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise NotOpen("the interpreter is ending: enqueue once before that") from error

    async def _enqueue(self, queue: Queue, plan: Plan, args: bytes) -> str:
        producer = self._producers.get(queue)
        if producer is None:
            settings = self._settings
            store = QueueStore(self._connections, settings.namespace, queue, settings.limits)
            producer = self._producers[queue] = Producer(store, settings.limits)
        task_id, _ = await producer.enqueue(plan, args)
        return task_id

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
        if self._loop is None or self._pid != os.getpid():  # threads do not survive a fork
            self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="castwork-sync", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError as error:
                self._loop.close()
                self._loop = self._thread = None
                raise NotOpen(
                    "the interpreter is ending, and no thread can be started any more: enqueue once"
                    " before, or use a connection of your own"
                ) from error
        return self._loop
