"""The scenarios, in the order in which they run and are reported."""

from harness.scenario import Scenario

from . import (
    backlog,
    chunks,
    cpu_memory,
    drain,
    enqueue,
    idle,
    latency,
    long_task,
    pending,
    processes,
    server_cost,
    sleep50,
    startup,
)

_MODULES = (
    drain,
    server_cost,
    enqueue,
    latency,
    long_task,
    sleep50,
    cpu_memory,
    processes,
    backlog,
    pending,
    chunks,
    idle,
    startup,
)
SCENARIOS: dict[str, Scenario] = {module.SCENARIO.name: module.SCENARIO for module in _MODULES}
