"""Django's connections around plain functions, and enqueues that wait for a commit."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
import threading
from typing import Any

import django
import pytest
from django.conf import settings
from django.db import connection, transaction

from castwork import App

if not settings.configured:
    folder = tempfile.TemporaryDirectory()  # Django never closes a database in memory
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder.name}/db"}
    settings.configure(DATABASES={"default": file | {"CONN_MAX_AGE": 0}}, USE_TZ=True)
    atexit.register(folder.cleanup)
    django.setup()

from castwork.contrib.django import enqueue_on_commit, instrument


async def test_connections_of_plain_functions_are_closed(app: App) -> None:
    instrument(app)
    seen: list[Any] = []

    @app.task(queue="q")
    def ask() -> int:
        seen.append((connection.connection, threading.get_ident()))
        with connection.cursor() as cursor:
            cursor.execute("SELECT 3")
            return int(cursor.fetchone()[0])

    @app.task(queue="q")
    async def other() -> int:
        return 4

    async with app, app.worker(concurrency=1):
        for _ in range(3):
            assert await (await ask.enqueue()).result(timeout=10) == 3
        assert await (await other.enqueue()).result(timeout=10) == 4
    assert {thread for _, thread in seen} != {threading.get_ident()}
    assert [before for before, _ in seen] == [None] * 3, "the last one's is closed"


def test_a_call_is_enqueued_with_the_commit(app: App) -> None:
    @app.task(queue="q")
    def work(number: int) -> None: ...

    def depth() -> int:
        async def ask() -> int:
            [info] = await app.queues()
            return info.depth

        return asyncio.run_coroutine_threadsafe(ask(), loop).result(10)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with transaction.atomic():
            enqueue_on_commit(work.call(1))
            assert depth() == 0
        assert depth() == 1
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            enqueue_on_commit(work.call(2))
            raise ZeroDivisionError
        assert depth() == 1
        enqueue_on_commit(work.call(3))
        assert depth() == 2
    finally:
        connection.close()
        asyncio.run_coroutine_threadsafe(app.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
