"""The finisher: outcomes go out in groups, and stay with the worker until the server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.worker.attempts import declare, make_attempt
from tests.worker.conftest import MakeRoles

from castwork import App, Backoff, Discard, Retry, TaskState
from castwork.model.entry import Meta
from castwork.store.outcomes import Outcomes
from castwork.worker.finisher import Finisher
from castwork.worker.gate import Gate
from castwork.worker.outcome import Release
from castwork.worker.queue_roles import QueueRoles
from castwork.worker.workload import Workload


async def held(app: App, make_roles: MakeRoles, values: list[Any]) -> QueueRoles:
    """Tasks that return these values, claimed together."""

    @app.task(queue="q")
    async def work(number: int) -> Any:
        return values[number]

    roles = await make_roles(capacity=len(values))
    await work.enqueue_many(range(len(values)))
    roles.runner.begin(await roles.claims.claim(len(values), [0, 0, 0]))
    return roles


async def test_outcomes_that_are_ready_together_go_out_together(
    app: App, make_roles: MakeRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = await held(app, make_roles, list(range(300)))
    groups = watch_groups(roles, monkeypatch)

    await eventually(lambda: len(roles.workload) == 0)
    assert sum(groups) == 300
    assert max(groups) == 128
    assert len(groups) <= 4
    assert roles.finisher.counts == {"succeeded": 300}


async def test_large_results_go_out_in_smaller_groups(
    app: App, make_roles: MakeRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = await held(app, make_roles, ["x" * 200_000] * 10 + ["x" * 900_000])
    groups = watch_groups(roles, monkeypatch)

    await eventually(lambda: len(roles.workload) == 0)
    assert sum(groups) == 11
    assert max(groups) <= 2
    assert roles.finisher.counts == {"succeeded": 11}


def watch_groups(roles: QueueRoles, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    groups: list[int] = []
    take = roles.finisher._next_group

    def next_group() -> Any:
        group = take()
        groups.append(len(group))
        return group

    monkeypatch.setattr(roles.finisher, "_next_group", next_group)
    return groups


@pytest.fixture
def full(plain: redis.Redis) -> Iterator[redis.Redis]:
    """A server that takes nothing more, for as long as its limit is set."""
    yield plain
    plain.config_set("maxmemory", 0)


async def test_a_server_without_memory_takes_what_frees_it_and_the_rest_waits(
    app: App, make_roles: MakeRoles, full: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    go = asyncio.Event()

    @app.task(queue="q", attempts=1)
    async def work(fails: bool) -> int:
        await go.wait()
        if fails:
            raise ValueError("no")
        return 1

    roles = await make_roles()
    fine, dead = await work.enqueue_many([False, True])
    await roles.fetcher.claim(2)
    full.config_set("maxmemory-policy", "noeviction")
    full.config_set("maxmemory", 1)
    go.set()
    assert await fine.result(timeout=10) == 1
    await eventually(lambda: "wait for the server to take them" in caplog.text)
    assert [a.task_id for a in roles.workload.attempts] == [dead.id], "held until it is stored"
    full.config_set("maxmemory", 0)

    assert (await dead.wait(timeout=10)).status is TaskState.DEAD
    await roles.finisher.drain()
    assert roles.finisher.counts == {"succeeded": 1, "bury": 1}


async def test_an_outcome_that_the_server_refuses_for_good_disturbs_no_other(
    app: App, make_roles: MakeRoles, plain: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(queue="q", attempts=1)
    async def work() -> None:
        raise ValueError("no")

    roles = await make_roles()
    keys = roles.workload.store.place.keys
    plain.set(keys.dead, "a key of another kind")
    task = await work.enqueue()
    await roles.fetcher.claim(1)
    await roles.finisher.drain()

    assert roles.finisher.counts == {"unstored": 1}
    assert len(roles.workload) == 0
    assert "WRONGTYPE" in caplog.text
    # Nothing was lost: its entry is there, to be taken over when the lease is over.
    assert plain.xpending(keys.lanes[1], "workers")["pending"] == 1
    assert not (await task.status()).status.is_final
    plain.delete(keys.dead)


async def test_an_outcome_of_each_kind_is_counted(app: App, make_roles: MakeRoles) -> None:
    @app.task(queue="q", attempts=2, backoff=Backoff(base=60))
    async def work(kind: str) -> Any:
        match kind:
            case "discard":
                raise Discard("unwanted")
            case "retry":
                raise Retry("later", after=60)
            case "bury":
                return object()
            case "fail":
                raise ValueError("no")
        return kind

    roles = await make_roles()
    kinds = ["succeed", "discard", "retry", "bury", "fail"]
    tasks = await work.enqueue_many(kinds)
    await roles.fetcher.claim(5)
    await eventually(lambda: len(roles.workload) == 0)

    assert roles.finisher.counts == {"succeeded": 1, "failed": 1, "park": 2, "bury": 1}
    assert [(await task.status()).status for task in tasks] == [
        TaskState.SUCCEEDED,
        TaskState.FAILED,
        TaskState.SCHEDULED,
        TaskState.DEAD,
        TaskState.SCHEDULED,
    ]


@pytest.mark.parametrize(("before", "counts"), [(0, False), (9, False), (10, True), (30, True)])
async def test_a_task_that_goes_on_stopping_its_workers_uses_up_its_attempts(
    before: int, counts: bool
) -> None:
    attempt = make_attempt(meta=Meta(attempts=before, uncounted=before))
    workload = Workload(declare().store, "alice", 1)
    handing_back = Finisher(
        workload,
        Outcomes(workload.store.place, "alice"),
        Gate(workload, workload.store.admissions("alice", 15.0)),
    )._release(attempt, Release(started=True))
    entry = handing_back.args[1]  # type: ignore[attr-defined]
    assert entry.meta.attempts == before + 1
    assert entry.meta.uncounted == before + (not counts)
