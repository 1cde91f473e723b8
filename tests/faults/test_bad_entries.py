"""Entries that no worker can run: to the dead letters, byte for byte; neighbours are unharmed."""

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
from castwork.model.errors import TaskDead, TaskNotFound, UndecodableEntry
from castwork.model.ids import PlaceNames

Tasks = Callable[[str], TaskFunction[..., Any]]

GOOD = {"task": "count", "id": "work:x", "args": '{"number": 1}'}
CALL = {"call": 'count 0123456789ABCD {"number":1}'}
GARBAGE = b"\xff\xfe\x00\x80"
DEEP = "[" * 100_000

BAD: dict[str, dict[str, str | bytes]] = {
    "no fields of ours": {"hello": "world"},
    "garbage names": {GARBAGE.decode("latin-1"): GARBAGE},
    # -- as other programs write
    "garbage for a task": GOOD | {"id": "work:n", "task": GARBAGE},
    "garbage for an id": GOOD | {"id": GARBAGE},
    "garbage for arguments": GOOD | {"id": "work:o", "args": GARBAGE},
    "no task": {"id": "work:a", "args": "{}"},
    "meta is no JSON": GOOD | {"id": "work:b", "meta": "{nope"},
    "meta is of another shape": GOOD | {"id": "work:c", "meta": '{"attempts": "many"}'},
    "meta is garbage": GOOD | {"id": "work:d", "meta": GARBAGE},
    "unknown task": GOOD | {"id": "work:e", "task": "nobody_knows_it"},
    "arguments are no JSON": GOOD | {"id": "work:f", "args": "number=1"},
    "arguments are no object": GOOD | {"id": "work:g", "args": "[1]"},
    "an argument of another type": GOOD | {"id": "work:h", "args": '{"number": "one"}'},
    "an argument missing": GOOD | {"id": "work:i", "args": "{}"},
    "an argument too many": GOOD | {"id": "work:j", "args": '{"number": 1, "color": 2}'},
    "arguments are deep": GOOD | {"id": "work:k", "args": '{"number": ' + DEEP},
    # -- as castwork writes
    "garbage for a call": {"call": GARBAGE},
    "garbage for a call's task": {"call": GARBAGE + b' 0123456789ABCD {"number":1}'},
    "garbage for a nonce": {"call": b"count " + GARBAGE + b' {"number":1}'},
    "a nonce that is too short": {"call": 'count 0123 {"number":1}'},
    "a nonce of other digits": {"call": 'count 0123456789abcd {"number":1}'},
    "garbage for a call's arguments": {"call": b"count 0123456789ABCD " + GARBAGE},
    "a call without arguments": {"call": "count 0123456789ABCD"},
    "a call of a name alone": {"call": "count"},
    "an empty call": {"call": ""},
    "a call beside a task": GOOD | {"id": "work:p", "call": "count"},
    "a call of an unknown task": {"call": "not%20here 0123456789ABCD {}"},
    "a call with deep arguments": {"call": 'count 0123456789ABCD {"number":' + DEEP},
    "garbage for a call's id": CALL | {"id": GARBAGE},
    "an id of two lines": CALL | {"id": "work:l\nwork:m"},
    "a time that is no number": CALL | {"at": "noon"},
    "a time before 1970": CALL | {"at": "-1"},
    "a time that is garbage": CALL | {"at": GARBAGE},
    "meta is a list": CALL | {"meta": "[]"},
    "meta is null": CALL | {"meta": "null"},
    "meta is deep": CALL | {"meta": '{"headers":' + DEEP},
    "meta is deep in what nobody reads": CALL | {"meta": '{"color":' + DEEP},
    "fewer attempts than none": CALL | {"meta": '{"attempts": -5}'},
    "more attempts than a number holds": CALL | {"meta": '{"uncounted": %s}' % ("9" * 400)},
    "labels that are no text": CALL | {"meta": '{"labels": {"a": 1}}'},
}


async def test_undecodable_entries_are_buried_with_their_bytes(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, sample: App
) -> None:
    lane = ledger.streams[1]
    first = await tasks("count").enqueue_many(range(10))
    entries = [plain.xadd(lane, fields) for fields in BAD.values()]  # type: ignore[arg-type]
    last = await tasks("count").enqueue_many(range(10))
    worker = await crew.one(concurrency=4, unknown_grace=0.0)
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
    assert len(letters) == len(entries) == plain.hlen(ledger.keys.letters)
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


async def test_entry_of_another_program_needs_no_id(
    crew: Crew, ledger: Ledger, plain: redis.Redis, notes: Notes
) -> None:
    fields: dict[Any, Any] = {"task": "count", "args": '{"number": 1}'}
    entry = plain.xadd(ledger.streams[1], fields)
    task_id = f"work-{PlaceNames().name(entry)}N00"
    assert ledger.states([task_id]) == {"queued": 1}
    await crew.one()
    await eventually(ledger.is_empty)
    ledger.assert_conserved([task_id], succeeded=1)
    assert notes.runs() == {task_id: 1}


ROW = b'{"v":1,"lane":"normal","fields":["task","count","args","{\\"number\\":1}"],"record":""}'

MALFORMED: dict[bytes, bytes] = {
    b"work:garbage": GARBAGE,
    b"work:empty": b"",
    b"work:no-time": ROW,
    b"work:no-json": b"1764000000000 {nope",
    b"work:deep": b"1764000000000 " + DEEP.encode(),
    b"work:list": b"1764000000000 []",
    b"work:no-fields": b'1764000000000 {"v":1,"lane":"normal","record":""}',
    b"work:odd-fields": b'1764000000000 {"v":1,"lane":"normal","fields":["call"],"record":""}',
    b"work:numbers": b'1764000000000 {"v":1,"lane":"normal","fields":[1,2],"record":""}',
    GARBAGE: b"1764000000000 {nope",
}


async def test_parked_tasks_that_do_not_decode_stop_nobody(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis, notes: Notes
) -> None:
    strange: dict[bytes, bytes] = {b"work:\xfe\xff": b"1764000000000 " + ROW}
    lost = {b"work:no-row": 1, b"\xfd no row": 1}
    with plain.pipeline(transaction=True) as pipe:
        pipe.hset(ledger.keys.parked, mapping=MALFORMED | strange)
        # Before all others, so that these are looked at first in each pass.
        pipe.zadd(ledger.keys.due, dict.fromkeys([*MALFORMED, *strange], 1) | lost)
        pipe.execute()
    delayed = await tasks("count").options(delay=0.1).enqueue(1)
    worker = await crew.one()
    assert await delayed.result(timeout=10) == 2
    retried = await tasks("flaky").enqueue(2)
    assert await retried.result(timeout=10) == 3
    await eventually(lambda: ledger.entries() == 0)
    assert worker.is_alive
    assert plain.hgetall(ledger.keys.parked) == MALFORMED, "they stay, for people to look at"
    assert plain.zcard(ledger.keys.due) == 0
    assert "parked tasks that do not decode" in worker.log()
    assert ledger.dead() == []
    assert sum(notes.runs().values()) == 1 + 3 + 1


async def test_entry_of_very_many_fields_is_buried_with_the_first_of_them(
    crew: Crew, tasks: Tasks, ledger: Ledger, plain: redis.Redis
) -> None:
    many: dict[Any, Any] = {f"field{number}": "x" for number in range(5000)}
    plain.xadd(ledger.streams[1], many)
    neighbour = await tasks("count").enqueue(1)
    await crew.one()
    assert await neighbour.result(timeout=10) == 2
    await eventually(ledger.is_empty)
    [letter] = ledger.dead()
    assert list(_original(letter)) == [name.encode() for name in list(many)[:3900]]


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
