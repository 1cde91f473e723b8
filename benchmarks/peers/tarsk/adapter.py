"""tarsk: a Rust supervisor that feeds Python children."""

import bodies
from tarsk import App

SETTINGS = (
    "tarsk worker --children P --slots C; tasks with result_ttl=3600 (default 0: none kept); "
    "results polled every 1 ms (default 50)"
)
IMPORT = "from tarsk import App"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")
OWN_PROCESSES = True

app = App(broker=bodies.URL)
tasks = {kind: app.task(result_ttl=3600, timeout=300)(getattr(bodies, kind)) for kind in KINDS}


async def setup() -> None:
    """The producer connects with the first call."""


async def enqueue_one(kind: str, payload: str) -> str:
    return await tasks[kind].send_async(payload)


async def result(task_id: str, seconds: float) -> int:
    return await app.result(task_id).get_async(timeout=seconds, poll=0.001)


def worker_command(concurrency: int, processes: int) -> list[str]:
    command = ["tarsk", "worker", "--app", "adapter:app", "--broker", bodies.URL]
    return [*command, "--children", str(processes), "--slots", str(concurrency)]
