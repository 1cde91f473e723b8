"""castwork, from this working tree or from an earlier revision."""

import contextlib
import sys

import bodies

from castwork import App, Task

SETTINGS = (
    "castwork worker --concurrency C, all else default; outcomes fenced, results kept (default)"
)
IMPORT = "from castwork import App"
CASTWORK = [sys.executable, "-m", "castwork"]
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold", "stream")

app = App(bodies.URL)
tasks = {kind: app.task(getattr(bodies, kind)) for kind in KINDS}
_open = contextlib.AsyncExitStack()


async def setup() -> None:
    await _open.enter_async_context(app)


async def enqueue_one(kind: str, payload: str) -> Task:
    return await tasks[kind].enqueue(payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[Task]:
    return await tasks[kind].enqueue_many([(payload,) for payload in payloads])


async def result(task: Task, seconds: float) -> int:
    return await task.result(timeout=seconds)


def events_path(task: Task) -> str:
    return f"/tasks/{task.id}/events"


def worker_command(concurrency: int, processes: int) -> list[str]:
    return [*CASTWORK, "worker", "adapter:app", "--concurrency", str(concurrency)]


def gateway_command(port: str) -> list[str]:
    return [*CASTWORK, "gateway", "adapter:app", "--host", "127.0.0.1", "--port", port]


def embedded_command() -> list[str]:
    return [sys.executable, "embedded.py"]
