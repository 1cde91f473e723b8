"""BlitzQ: reliable mode (Redis Streams, at least once), or fast mode (lists, at most once)."""

import bodies
from blitzq import Queue
from blitzq.task import TaskHandle

MODE = "fast" if bodies.VARIANT == "fast" else "reliable"
SETTINGS = f"mode {MODE}; blitzq worker --concurrency C --workers P; results stored (default)"
IMPORT = "from blitzq import Queue"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")
OWN_PROCESSES = True

queue = Queue("bench", bodies.URL, mode=MODE)
tasks = {kind: queue.task(getattr(bodies, kind)) for kind in KINDS}


async def setup() -> None:
    await queue.connect()


async def enqueue_one(kind: str, payload: str) -> TaskHandle:
    return await tasks[kind].enqueue(payload)


async def enqueue_bulk(kind: str, payloads: list[str]) -> list[TaskHandle]:
    return await tasks[kind].enqueue_many((payload,) for payload in payloads)


async def result(handle: TaskHandle, seconds: float) -> int:
    return await queue.get_result(handle.id, timeout=seconds)


def worker_command(concurrency: int, processes: int) -> list[str]:
    command = ["blitzq", "worker", "adapter:queue", "--no-warn-cpu-bound", "--log-level", "WARNING"]
    return [*command, "--concurrency", str(concurrency), "--workers", str(processes)]
