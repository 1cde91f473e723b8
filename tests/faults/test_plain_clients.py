"""Plain redis-py beside castwork: publishers, subscribers and producers that know nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import App, TaskFunction
from castwork.model.errors import TaskDead
from castwork.model.queue import adopted_queue

Tasks = Callable[[str], TaskFunction[..., Any]]


@pytest.fixture
def foreign(namespace: str) -> str:
    """The stream that `adopt` adopts."""
    return f"{namespace}:foreign"


@pytest.fixture
def adopted(plain: redis.Redis, namespace: str, foreign: str) -> Ledger:
    return Ledger(plain, namespace, adopted_queue(foreign, "workers"))


async def test_plain_publish_is_heard_by_every_process(
    crew: Crew, plain: redis.Redis, notes: Notes, namespace: str
) -> None:
    hearers = [crew.start([]) for _ in range(2)]
    await crew.started(*hearers)
    assert plain.publish(f"{namespace}:orders", json.dumps({"order": 7})) == 2
    plain.publish(f"{namespace}:orders", b"\xff no JSON")
    plain.publish(f"{namespace}:orders", json.dumps({"order": 8}))
    for process in hearers:
        name = f"orders:{process.pid}"
        await eventually(lambda name=name: len(notes.read(name)) >= 2)
        assert notes.read(name) == [{"order": 7}, {"order": 8}]


async def test_plain_subscribe_hears_castwork(
    plain: redis.Redis, sample: App, namespace: str
) -> None:
    with plain.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(f"{namespace}:orders")
        pubsub.get_message(timeout=5)
        receipt = await sample.channels[f"{namespace}:orders"].publish({"order": 9})
        assert receipt.subscribers == 1
        message = await eventually(lambda: pubsub.get_message(timeout=0.1))
        assert json.loads(message["data"]) == {"order": 9}


async def test_plain_entry_is_run_once_with_its_values_converted(
    crew: Crew, plain: redis.Redis, tasks: Tasks, adopted: Ledger, foreign: str, notes: Notes
) -> None:
    early = _add(plain, foreign, prompt="early", number="4")
    for _ in range(2):
        crew.start([foreign])
    await crew.started(*crew.processes)
    late = _add(
        plain,
        foreign,
        prompt="[late]",
        number="5",
        ratio="0.25",
        tag='{"x"}',
        parts="[1]",
        user="u",
    )
    adopt = tasks("adopt")
    made = {"prompt": "early", "number": 4, "ratio": 0.5, "tag": None, "parts": None}
    assert await adopt.task(early).result(timeout=10) == made
    made = {"prompt": "[late]", "number": 5, "ratio": 0.25, "tag": '{"x"}', "parts": [1]}
    assert await adopt.task(late).result(timeout=10) == made
    await eventually(adopted.is_empty)
    assert notes.runs() == {early: 1, late: 1}
    adopted.assert_conserved([early, late], succeeded=2)


async def test_plain_entry_of_a_killed_worker_is_run_by_another(
    crew: Crew, plain: redis.Redis, tasks: Tasks, adopted: Ledger, foreign: str, notes: Notes
) -> None:
    first = await crew.one([foreign])
    entry = _add(plain, foreign, prompt="long", pause="1.5")
    await eventually(lambda: notes.runs() == {entry: 1})
    first.kill()
    await crew.one([foreign])
    result = await tasks("adopt").task(entry).result(timeout=15)
    assert result["prompt"] == "long"
    await eventually(adopted.is_empty)
    assert notes.runs() == {entry: 2}
    adopted.assert_conserved([entry], succeeded=1)
    assert adopted.attempts([entry]) == {2: 1}


async def test_plain_entries_are_retried_and_buried(
    crew: Crew, plain: redis.Redis, tasks: Tasks, adopted: Ledger, foreign: str, notes: Notes
) -> None:
    await crew.one([foreign])
    flaky = _add(plain, foreign, prompt="flaky", failures="1")
    failing = _add(plain, foreign, prompt="fail", failures="9")
    misfit = _add(plain, foreign, prompt="x", number="many")
    empty = _add(plain, foreign, user="nobody")
    garbage = f"{foreign}:workers:" + plain.xadd(foreign, {"prompt": b"\xff\xfe"}).decode()
    ids = [flaky, failing, misfit, empty, garbage]
    assert (await tasks("adopt").task(flaky).result(timeout=10))["prompt"] == "flaky"
    with pytest.raises(TaskDead, match="failure 3"):
        await tasks("adopt").task(failing).result(timeout=10)
    await eventually(lambda: adopted.states(ids) == {"succeeded": 1, "dead": 4})
    await eventually(adopted.is_empty)
    adopted.assert_conserved(ids, succeeded=1, dead=4)
    assert notes.runs() == {flaky: 2, failing: 3}
    letters = {letter[b"id"].decode(): letter for letter in adopted.dead()}
    assert letters[garbage][b"entry.prompt"] == b"\xff\xfe"
    assert b"number" in letters[misfit][b"errors"]


async def test_dead_plain_entry_is_replayed(
    crew: Crew, plain: redis.Redis, tasks: Tasks, adopted: Ledger, foreign: str, sample: App
) -> None:
    await crew.one([foreign])
    entry = _add(plain, foreign, prompt="p", failures="4")  # more than its three attempts
    await eventually(adopted.dead)
    [dead] = [d for d in sample.dead_letters() if d.queue == foreign]
    letter = await dead.get(entry)
    assert (letter.task, letter.attempts) == ("adopt", 3)
    name, _, args = letter.fields["call"].split(" ", 2)
    assert (name, json.loads(args)) == ("adopt", {"prompt": "p", "failures": "4"})
    assert await dead.replay(entry) == entry
    assert (await tasks("adopt").task(entry).result(timeout=10))["prompt"] == "p"
    await eventually(adopted.is_empty)
    adopted.assert_conserved([entry], succeeded=1)
    assert adopted.attempts([entry]) == {5: 1}


async def test_kept_entries_stay_for_another_group(
    crew: Crew, plain: redis.Redis, tasks: Tasks, namespace: str, notes: Notes
) -> None:
    stream = f"{namespace}:shared"
    plain.xgroup_create(stream, "theirs", "0", mkstream=True)
    entries = [_add(plain, stream, "readers", prompt=f"p{n}") for n in range(20)]
    workers = [crew.start([stream]) for _ in range(2)]
    await crew.started(*workers)
    share = tasks("share")
    results = [await share.task(entry).result(timeout=10) for entry in entries]
    assert results == [f"P{n}" for n in range(20)]
    assert notes.runs() == dict.fromkeys(entries, 1)
    assert plain.xlen(stream) == 20
    await eventually(lambda: plain.xpending(stream, "readers")["pending"] == 0)
    [[_, theirs]] = plain.xreadgroup("theirs", "them", {stream: ">"})
    assert [f"{stream}:readers:{entry.decode()}" for entry, _ in theirs] == entries


async def test_dead_kept_entry_is_replayed_under_its_own_id(
    crew: Crew, plain: redis.Redis, tasks: Tasks, namespace: str, sample: App, notes: Notes
) -> None:
    stream = f"{namespace}:shared"
    entry = _add(plain, stream, "readers", prompt="once")
    await crew.one([stream])
    ledger = Ledger(plain, namespace, adopted_queue(stream, "readers", owned=False))
    await eventually(ledger.dead)
    [dead] = [d for d in sample.dead_letters() if d.queue == stream]
    letter = await dead.get(entry)
    assert (letter.task, letter.fields) == ("share", {"prompt": "once"})
    await dead.replay(letter.id)
    assert await tasks("share").task(entry).result(timeout=10) == "ONCE"
    await eventually(ledger.is_empty)
    ledger.assert_conserved([entry], succeeded=1)
    assert notes.runs() == {entry: 2}
    assert plain.xlen(stream) == 1


def _add(plain: redis.Redis, stream: str, group: str = "workers", **fields: str) -> str:
    """XADD with plain text fields, as any program does; returns the task id."""
    entry = plain.xadd(stream, fields)  # type: ignore[arg-type]
    return f"{stream}:{group}:{entry.decode()}"
