"""mayu: a Rust core made for free-threaded Python; here on a build with the GIL."""

import bodies
from mayu import App
from mayu.handle import TaskHandle

SETTINGS = (
    "mayu worker --mode thread --threads C --processes P, App(result_ttl=3600) (default: none "
    "kept); "
    "Python with the GIL, not the free-threaded build that it is made for"
)
IMPORT = "from mayu import App"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms")
OWN_PROCESSES = True

app = App(broker=bodies.URL, result_ttl=3600)
tasks = {kind: app.task(name=kind)(getattr(bodies, kind)) for kind in KINDS}


async def setup() -> None:
    """Connects with the first call. The client blocks, so concurrent coroutines take turns."""


async def enqueue_one(kind: str, payload: str) -> TaskHandle:
    return tasks[kind].send(payload)


async def result(handle: TaskHandle, seconds: float) -> int:
    return handle.result(timeout=seconds)


def worker_command(concurrency: int, processes: int) -> list[str]:
    command = ["mayu", "worker", "adapter:app", "--mode", "thread", "--threads", str(concurrency)]
    return [*command, "--processes", str(processes), "--log-level", "WARNING"]
