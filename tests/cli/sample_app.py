"""A small backend, as a user would write it, for the tests of the command line."""

import asyncio
import os
import time
from collections.abc import AsyncIterator

from castwork import App, Backoff, Cron

app = App("embedded://")
quick = Backoff(base=0.01, longest=0.05)

castwork_hints = "curl {url}/tasks/add\necho 'a {brace} of the shell'"

other = "not an App"
news = app.channel("news", dict, history=100)
plain = app.channel("plain", dict)


@app.task
async def add(a: int, b: int = 1) -> int:
    return a + b


@app.task
async def greet(name: str) -> str:
    return f"hello {name}"


@app.task
async def pid() -> int:
    return os.getpid()


@app.task
async def spell(word: str) -> AsyncIterator[str]:
    for letter in word:
        yield letter


@app.task(queue="slow", schedule=Cron("0 3 * * *", timezone="Europe/Berlin"))
async def nightly() -> str:
    return "slept"


@app.task(queue="slow")
async def nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@app.task(queue="slow", attempts=1, timeout=0.5)
async def block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - what a user should not do


@app.task(queue="slow", timeout=None)
async def hog(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - and here nobody may say that it takes too long


@app.task(queue="broken", attempts=1, backoff=quick)
async def fail(path: str) -> str:
    """Fails until somebody makes the file."""
    if not os.path.exists(path):  # noqa: ASYNC240, PTH110
        raise RuntimeError("no such file yet")
    return "mended"
