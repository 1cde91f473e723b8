"""Task functions for child processes, which import this module by its name."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from castwork import App, Backoff, Call, Discard, Retry, current

app = App(env=None)
logger = logging.getLogger("app")

NOW = Backoff(base=0.01)


class OwnError(Exception):
    """An exception that cannot be pickled, as it asks for two arguments."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


@app.task(run_in="process")
def square(number: int) -> list[int]:
    return [number * number, os.getpid()]


@app.task(run_in="process", attempts=1)
def fail(how: str) -> float:
    if how == "value":
        raise ValueError("no such page")
    if how == "own":
        raise OwnError(5, "x")
    if how == "discard":
        raise Discard("no such user")
    if how == "exit":
        sys.exit(3)
    if how == "stop":
        raise StopIteration
    return float("nan")


@app.task(run_in="process", attempts=2, backoff=NOW)
def die(path: str, when: str) -> int:
    """Die in the first attempt only."""
    Path(path).write_text(f"{Path(path).read_text()}x" if Path(path).exists() else "x")
    if current().attempt == 1:
        if when == "killed":
            os.kill(os.getpid(), 9)
        os._exit(7)
    return current().attempt


@app.task(run_in="process", timeout=1.0, attempts=1)
def too_long(path: str) -> None:
    try:
        time.sleep(60)
    finally:
        Path(path).write_text("cleaned up")


@app.task(run_in="process", attempts=1)
def hang(path: str, deaf: bool) -> None:
    Path(path).write_text(str(os.getpid()))
    while True:
        try:
            time.sleep(60)
        except BaseException:
            if not deaf:
                raise


@app.task(run_in="process")
def told(text: str) -> dict[str, Any]:
    context = current()
    context.emit_sync("source", {"text": text})
    context.progress_sync(0.5, "half")
    return {
        "attempt": context.attempt,
        "left": context.attempts_left,
        "owner": context.owner,
        "queue": context.queue,
        "labels": dict(context.labels),
        "bounded": context.time_left is not None,
    }


@app.task(run_in="process", backoff=NOW)
def saving() -> int:
    context = current()
    done = context.saved(int) or 0
    if done == 2:
        return done
    context.save_sync(done + 1)
    raise Retry(after=0.01)


@app.task(run_in="process")
def parent(number: int) -> int:
    task = square.enqueue_sync(number)
    return task.result_sync(timeout=20)[0] + 1


@app.task(run_in="process")
def logs(text: str) -> None:
    logger.warning("found %s", text)


@app.task(run_in="process")
def logs_extras(text: str) -> None:
    logger.warning("%s, not made again", text, extra={"error": OwnError(5, "x")})
    logger.warning("%s, not pickled", text, extra={"lock": threading.Lock()})


class _Unnamed(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__name__":
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class UnnamedError(Exception, metaclass=_Unnamed):
    """An exception whose type does not tell its name."""


@app.task(run_in="process", attempts=1)
def spoil(how: str) -> str:
    """Do to the process's files what some code does by mistake."""
    if how == "closed":
        os.closerange(3, 100)
    elif how == "written":
        for number in range(3, 100):
            with suppress(OSError):
                os.write(number, b"\x1bnoise" * 100)
    else:
        raise UnnamedError
    return how


@app.resource
async def pool() -> AsyncIterator[str]:
    yield f"pool of {os.getpid()}"


@app.resource
def model() -> Iterator[str]:
    yield f"model on {pool.value}"
    if path := os.environ.get("CASTWORK_TEST_CLOSED"):
        Path(path).write_text("closed")


@app.task(run_in="process")
def with_resource() -> str:
    return model.value.replace(str(os.getpid()), "this process")


@app.around_task
def around(call: Call[Any], proceed: Any) -> Any:
    if call.function.name != "wrapped":
        return proceed()
    return f"{call.arguments['text']} {proceed()} in {os.getpid() != int(call.arguments['pid'])}"


@app.task(run_in="process")
def wrapped(text: str, pid: str) -> str:
    return "inside"


@app.task(run_in="process", attempts=1)
def fork(path: str) -> None:
    """Die, and leave a forked process behind that lives on."""
    if (pid := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    Path(path).write_text(str(pid))
    os.kill(os.getpid(), 9)


@app.task(run_in="process")
def coroutine() -> Any:
    return asyncio.sleep(0)


@app.task
def beside() -> str:
    return "beside"
