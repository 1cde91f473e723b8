"""The app whose worker processes the tests hurt; tests build it too, to enqueue and publish.

What a function does is noted on the server directly, past any proxy, so that a test can count
how often code really ran.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import redis

from castwork import (
    App,
    AppSettings,
    AtOnce,
    Backoff,
    Discard,
    LinkSettings,
    Resync,
    Retry,
    TaskStatus,
    current,
)

QUICK = Backoff(base=0.02, factor=2.0, longest=0.2)
LINK = LinkSettings(call_timeout=30.0, ping_interval=1.0, ping_timeout=1.0, backoff=QUICK)


class Notes:
    """What ran, written with a plain client."""

    def __init__(self, url: str, namespace: str) -> None:
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.namespace = namespace

    def key(self, name: str) -> str:
        return f"{self.namespace}:notes:{name}"

    def ran(self, name: str = "runs") -> None:
        """Count a run of the current task."""
        self.client.hincrby(self.key(name), current().task_id, 1)

    def add(self, name: str, value: object) -> None:
        self.client.rpush(self.key(name), json.dumps(value))

    def runs(self, name: str = "runs") -> dict[str, int]:
        return {task: int(n) for task, n in self.client.hgetall(self.key(name)).items()}

    def read(self, name: str) -> list[Any]:
        return [json.loads(value) for value in self.client.lrange(self.key(name), 0, -1)]


def build(
    url: str, namespace: str, *, notes_url: str = "", link: LinkSettings = LINK, history: int = 500
) -> App:
    """Build the app. Its task functions are found in `app.tasks`, by name."""
    app = App(url, settings=AppSettings(namespace=namespace, link=link))
    notes = Notes(notes_url or url, namespace)
    app.queue("bounded", max_depth=5)
    _add_tasks(app, notes)
    _add_failing(app, notes)
    _add_adopting(app, notes, namespace)
    _add_limited(app, notes)
    _add_steps(app, notes)
    _add_channels(app, notes, history)
    return app


def _add_tasks(app: App, notes: Notes) -> None:
    @app.task(queue="work", attempts=100, backoff=QUICK)
    async def count(number: int, pause: float = 0.0) -> int:
        notes.ran()
        await asyncio.sleep(pause)
        return number * 2

    @app.task(queue="work", backoff=QUICK)
    async def answer(words: int, pause: float) -> AsyncIterator[str]:
        notes.ran()
        for number in range(words):
            yield f"w{number} "
            await asyncio.sleep(pause)

    @app.task(queue="work", attempts=5, backoff=QUICK)
    async def linger(seconds: float) -> str:
        notes.ran()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            notes.ran("interrupted")
            raise
        notes.ran("finished")
        return f"{os.getpid()}"

    @app.task(queue="work", backoff=QUICK)
    async def block(seconds: float) -> str:
        notes.ran()
        time.sleep(seconds)  # noqa: ASYNC251 - the mistake that is tested
        return "done"

    @app.task(queue="work", timeout=1.0, attempts=2, backoff=QUICK)
    async def wedge(seconds: float) -> str:
        notes.ran()
        if current().attempt == 1:
            time.sleep(seconds)  # noqa: ASYNC251 - the mistake that is tested
        return "done"

    @app.task(queue="bounded")
    async def bounded(number: int) -> int:
        return number


def _add_failing(app: App, notes: Notes) -> None:
    @app.task(queue="work", attempts=3, backoff=QUICK)
    async def poison() -> None:
        notes.ran()
        os._exit(13)

    @app.task(queue="work", attempts=3, backoff=QUICK)
    async def flaky(failures: int) -> int:
        notes.ran()
        if current().attempt <= failures:
            raise RuntimeError(f"failure {current().attempt}")
        return current().attempt

    @app.task(queue="work", attempts=3, backoff=Backoff(base=60.0))
    async def later(after: float) -> int:
        notes.ran()
        if current().attempt == 1:
            raise Retry("not yet", after=after)
        return current().attempt

    @app.task(queue="work", attempts=2, timeout=0.3, backoff=QUICK)
    async def too_slow() -> None:
        notes.ran()
        await asyncio.sleep(60)

    @app.task(queue="work")
    async def discard() -> None:
        notes.ran()
        raise Discard("unwanted")

    @app.task(queue="work", attempts=3, backoff=Backoff(base=120.0))
    async def parks() -> None:
        notes.ran()
        raise RuntimeError("come back in a while")


def _add_adopting(app: App, notes: Notes, namespace: str) -> None:
    @app.task(stream=f"{namespace}:foreign", group="workers", attempts=3, backoff=QUICK)
    async def adopt(
        prompt: str,
        number: int = 0,
        ratio: float = 0.5,
        pause: float = 0.0,
        failures: int = 0,
        tag: str | None = None,
        parts: list[int] | None = None,
    ) -> dict[str, Any]:
        notes.ran()
        await asyncio.sleep(pause)
        if current().attempt <= failures:
            raise RuntimeError(f"failure {current().attempt}")
        return {"prompt": prompt, "number": number, "ratio": ratio, "tag": tag, "parts": parts}

    @app.task(stream=f"{namespace}:shared", group="readers", keep_entries=True, attempts=1)
    async def share(prompt: str) -> str:
        notes.ran()
        if prompt == "once" and current().attempt == 1:
            raise RuntimeError("not the first time")
        return prompt.upper()


def _add_limited(app: App, notes: Notes) -> None:
    async def stay(doc: str, pause: float) -> None:
        """Note with how many it runs, those of killed processes left out."""
        inside, task_id = notes.key("inside"), current().task_id
        notes.ran()
        notes.client.hset(inside, task_id, f"{os.getpid()} {doc}")
        held = [one.split() for one in notes.client.hvals(inside)]
        docs = [other for pid, other in held if _lives(int(pid))]
        notes.add("together", [len(docs), docs.count(doc)])
        try:
            await asyncio.sleep(pause)
        finally:
            notes.client.hdel(inside, task_id)

    @app.task(queue="limited", attempts=100, backoff=QUICK, limits=[AtOnce(2), AtOnce(1, by="doc")])
    async def limited(doc: str, pause: float) -> None:
        await stay(doc, pause)

    @app.task(queue="limited", attempts=100, backoff=QUICK, serial_by="doc")
    async def serial(doc: str, number: int, pause: float) -> None:
        await stay(doc, pause)
        if number % 5 == 0 and current().attempt == 1:
            raise RuntimeError("not the first time")
        notes.add("ended", [doc, number])


def _add_steps(app: App, notes: Notes) -> None:
    @app.task(queue="steps", attempts=100, backoff=QUICK)
    async def spread(flow: int, count: int) -> list[list[int]]:
        notes.ran()
        return [[flow, number] for number in range(count)]

    @app.task(queue="parts", attempts=100, backoff=QUICK)
    async def part(one: list[int]) -> int:
        notes.ran()
        await asyncio.sleep(0.1)
        return one[1]

    @app.task(queue="parts", attempts=100, backoff=QUICK)
    async def odd(one: list[int], bad: int) -> int:
        notes.ran()
        if one[1] == bad:
            raise Discard("a bad one")
        return one[1]

    @app.task(queue="answers", attempts=100, backoff=QUICK)
    async def rescue(status: TaskStatus, flow: int) -> list[int]:
        notes.ran()
        notes.add("answered", [flow, status.task, status.status])
        return [-1]

    @app.task(queue="steps", attempts=100, backoff=QUICK)
    async def join(numbers: list[int | None], flow: int) -> list[int | None]:
        notes.ran()
        notes.add("joined", [flow, numbers])
        return numbers


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _add_channels(app: App, notes: Notes, history: int) -> None:
    news = app.channel("news", int, history=history)
    plain = app.channel(f"{app.settings.namespace}:orders", dict[str, int])
    sales = app.channel("sales", int, history=1000)

    def hear(name: str, event: object) -> None:
        notes.add(f"{name}:{os.getpid()}", "resync" if isinstance(event, Resync) else event)

    @news.subscribe
    async def on_news(event: int | Resync) -> None:
        hear("news", event)

    @plain.subscribe
    async def on_order(event: dict[str, int] | Resync) -> None:
        hear("orders", event)

    @sales.subscribe(group="billing", attempts=3)
    async def bill(event: int) -> None:
        notes.client.hincrby(notes.key("bills"), str(event), 1)
        await asyncio.sleep(0.01)
        if event < 0 and current().attempt <= 3:
            raise RuntimeError("this one cannot be billed")


async def main() -> None:
    """Run a worker, or with no queues only the channel handlers, until SIGTERM."""
    options = json.loads(os.environ["FAULTS_OPTIONS"])
    url, namespace = os.environ["FAULTS_URL"], os.environ["FAULTS_NAMESPACE"]
    notes_url = os.environ["FAULTS_NOTES_URL"]
    app = build(url, namespace, notes_url=notes_url, history=options.pop("history", 500))
    queues = options.pop("queues")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    _end_with_parent()
    notes = Notes(notes_url, namespace)
    async with app:
        if queues == []:
            notes.client.sadd(notes.key("ready"), os.getpid())
            await stop.wait()
            return
        worker = app.worker(queues, on_stuck=lambda place: notes.add("stuck", place), **options)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await worker.started.wait()
            notes.client.sadd(notes.key("ready"), os.getpid())
            await stop.wait()
            worker.stop()


def _end_with_parent() -> None:
    """End when the test process is gone: its end of our stdin closes then."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main())
