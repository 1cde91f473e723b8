"""taskiq with taskiq-redis: a stream broker (acknowledges) or a list broker (does not)."""

import bodies
from taskiq import AsyncTaskiqTask
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

BROKER = ListQueueBroker if bodies.VARIANT == "list" else RedisStreamBroker
SETTINGS = (
    f"{BROKER.__name__}, RedisAsyncResultBackend(result_ex_time=3600); taskiq worker --workers "
    "P --max-async-tasks C; "
    "results awaited with check_interval=0.001 (default 0.2)"
)
IMPORT = "from taskiq_redis import RedisStreamBroker"
KINDS = ("noop", "sleep30", "sleep50", "burn1ms", "hold")
OWN_PROCESSES = True

# The group must see tasks that were added before the first worker came: the default "$" would skip
# them.
options = {} if bodies.VARIANT == "list" else {"consumer_id": "0"}
broker = BROKER(bodies.URL, queue_name="bench", **options).with_result_backend(
    RedisAsyncResultBackend(bodies.URL, result_ex_time=3600)
)
tasks = {kind: broker.task(task_name=kind)(getattr(bodies, kind)) for kind in KINDS}


async def setup() -> None:
    await broker.startup()


async def enqueue_one(kind: str, payload: str) -> AsyncTaskiqTask:
    return await tasks[kind].kiq(payload)


async def result(task: AsyncTaskiqTask, seconds: float) -> int:
    return (await task.wait_result(check_interval=0.001, timeout=seconds)).return_value


def worker_command(concurrency: int, processes: int) -> list[str]:
    command = ["taskiq", "worker", "adapter:broker", "--log-level", "WARNING"]
    return [*command, "--workers", str(processes), "--max-async-tasks", str(concurrency)]
