"""dramatiq: lists and Lua, worker threads."""

import bodies
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

SETTINGS = (
    "dramatiq --processes P --threads 8 (default; C where tasks wait), actors with "
    "store_results=True; "
    "max_connections=2000, since redis-py 8.1 caps pools at 100"
)
IMPORT = "import dramatiq.brokers.redis, dramatiq.results.backends"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms")
OWN_PROCESSES = True

url = f"{bodies.URL}?max_connections=2000"
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=RedisBackend(url=url)))
dramatiq.set_broker(broker)
actors = {
    kind: dramatiq.actor(getattr(bodies, f"{kind}_sync"), actor_name=kind, store_results=True)
    for kind in KINDS
}


async def setup() -> None:
    """Connects with the first call. The client blocks, so concurrent coroutines take turns."""


async def enqueue_one(kind: str, payload: str) -> dramatiq.Message:
    return actors[kind].send(payload)


async def result(message: dramatiq.Message, seconds: float) -> int:
    return message.get_result(block=True, timeout=int(seconds * 1000))


def worker_command(concurrency: int, processes: int) -> list[str]:
    threads = concurrency if bodies.KIND.startswith("sleep") else 8
    return [
        "dramatiq",
        "adapter",
        "--processes",
        str(processes),
        "--threads",
        str(threads),
        "--skip-logging",
    ]
