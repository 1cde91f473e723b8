"""Entries that no worker can run: to the dead letters, byte for byte; neighbours are unharmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.faults.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes

from castwork import App, TaskFunction
from castwork.model.errors import TaskDead, TaskNotFound, UndecodableEntry

Tasks = Callable[[str], TaskFunction[..., Any]]

GOOD = {"task": "count", "id": "work-x", "args": '{"number": 1}'}
GARBAGE = b"\xff\xfe\x00\x80"

BAD: dict[str, dict[str, str | bytes]] = {
    "no fields of ours": {"hello": "world"},
    "garbage for a task": GOOD | {"task": GARBAGE},
    "garbage for an id": GOOD | {"id": GARBAGE},
    "garbage for arguments": GOOD | {"args": GARBAGE},
    "garbage names": {GARBAGE.decode("latin-1"): GARBAGE},
    "no task": {"id": "work-a", "args": "{}"},
    "no id": {"task": "count", "args": '{"number": 1}'},
    "meta is no JSON": GOOD | {"id": "work-b", "meta": "{nope"},
    "meta is of another shape": GOOD | {"id": "work-c", "meta": '{"attempts": "many"}'},
    "meta is garbage": GOOD | {"id": "work-d", "meta": GARBAGE},
    "unknown task": GOOD | {"id": "work-e", "task": "nobody_knows_it"},
    "arguments are no JSON": GOOD | {"id": "work-f", "args": "number=1"},
    "arguments are no object": GOOD | {"id": "work-g", "args": "[1]"},
    "an argument of another type": GOOD | {"id": "work-h", "args": '{"number": "one"}'},
    "an argument missing": GOOD | {"id": "work-i", "args": "{}"},
    "an argument too many": GOOD | {"id": "work-j", "args": '{"number": 1, "color": 2}'},
}


async def test_undecodable_entries_are_buried_with_their_bytes(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, sample: App
) -> None:
    lane = ledger.streams[1]
    first = await tasks("count").enqueue_many(range(10))
    entries = [plain.xadd(lane, fields) for fields in BAD.values()]  # type: ignore[arg-type]
    last = await tasks("count").enqueue_many(range(10))
    worker = await crew.one(concurrency=4)
    assert [await task.result(timeout=10) for task in first + last] == [
        2 * n for n in range(10)
    ] * 2
    await eventually(ledger.is_empty, within=5)
    assert worker.is_alive
    assert len(crew.processes) == 1

    letters = ledger.dead()
    originals = [_original(letter) for letter in letters]
    sent = [
        {_bytes(name): _bytes(value) for name, value in fields.items()} for fields in BAD.values()
    ]
    assert sorted(originals, key=repr) == sorted(sent, key=repr)
    assert len(letters) == len(entries)
    ledger.assert_nothing_waits()
    [dead] = [d for d in sample.dead_letters() if d.queue == "work"]
    shown = await dead.list()
    assert len(shown) == len(BAD)
    assert "\\xff\\xfe" in json.dumps([letter.fields for letter in shown]).replace("\\\\", "\\")


def _original(letter: dict[bytes, bytes]) -> dict[bytes, bytes]:
    prefix = b"entry."
    return {k.removeprefix(prefix): v for k, v in letter.items() if k.startswith(prefix)}


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


async def test_undecodable_entry_cannot_be_replayed(
    crew: Crew, ledger: Ledger, plain: redis.Redis, sample: App
) -> None:
    plain.xadd(ledger.streams[1], {"hello": "world"})
    await crew.one()
    await eventually(ledger.dead)
    [dead] = [d for d in sample.dead_letters() if d.queue == "work"]
    [letter] = await dead.list()
    with pytest.raises(UndecodableEntry, match="'task'"):
        await dead.replay(letter.id)
    assert await dead.count() == 1


async def test_dead_task_is_replayed_with_its_attempts_renewed(
    crew: Crew, tasks: Tasks, ledger: Ledger, notes: Notes, sample: App
) -> None:
    await crew.one()
    task = await tasks("flaky").enqueue(5)  # three attempts are not enough, six are
    with pytest.raises(TaskDead, match="failure 3"):
        await task.result(timeout=10)
    ledger.assert_conserved([task.id], dead=1)
    [dead] = [d for d in sample.dead_letters() if d.queue == "work"]
    letter = await dead.get(task.id)
    assert (letter.task, letter.attempts, len(letter.errors)) == ("flaky", 3, 3)
    assert await dead.replay(letter.id) == task.id
    with pytest.raises(TaskNotFound):
        await dead.replay(letter.id)
    assert await task.result(timeout=10) == 6
    assert notes.runs() == {task.id: 6}
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task.id], succeeded=1)
