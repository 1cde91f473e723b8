"""Records: what is known of a task by its id, and the request to cancel it."""

from __future__ import annotations

import pytest
import redis
from tests.eventually import eventually
from tests.store.box import QUEUED, Box
from tests.store.hands import Hand

from castwork.model.errors import UndecodableEntry
from castwork.model.ids import parse_made_id, process_id
from castwork.model.record import Record
from castwork.model.states import Priority, TaskState

KNOWN = Record(TaskState.QUEUED, "f")


def guessed(task_id: str) -> str:
    """The right place with the wrong random digits."""
    return task_id[:-8] + "".join("0" if digit != "0" else "1" for digit in task_id[-8:])


async def test_a_waiting_task_is_known_by_its_entry_alone(box: Box, plain: redis.Redis) -> None:
    ids = [(await box.put(1, lane))[0] for lane in Priority]

    for task_id in ids:
        record = await box.records.read(task_id)
        assert record is not None
        assert (record.status, record.task, record.attempts) == (TaskState.QUEUED, "f", 0)
        assert await box.records.final(task_id) is None
    assert plain.keys(f"{box.keys.prefix}:task:*") == []


async def test_a_task_that_has_ended_is_known_by_its_record(box: Box) -> None:
    (token,) = await box.held()
    await box.succeed(box.alice, token)

    for record in (await box.records.read(token.task), await box.records.final(token.task)):
        assert record is not None
        assert record.status is TaskState.SUCCEEDED


async def test_a_task_that_is_elsewhere_is_found_all_the_same(box: Box) -> None:
    (token,) = await box.held()
    await box.alice.outcomes.release(token.delivery, token.next_entry(), QUEUED)
    await box.put_named(box.named("q:own"))
    await box.put_named(box.named("q:later", delay_ms=60_000))

    for task_id, status in (
        ("q:own", TaskState.QUEUED),
        ("q:later", TaskState.SCHEDULED),
    ):
        record = await box.records.read(task_id)
        assert record is not None
        assert (record.status, record.task) == (status, "f")
    moved = await box.records.read(token.task)
    assert moved is not None, "its place is not the one that its id names any more"
    assert moved.status is TaskState.QUEUED


async def test_a_guessed_id_names_no_task(box: Box) -> None:
    (task_id,) = await box.put()
    other = guessed(task_id)
    assert parse_made_id(other) is not None

    assert await box.records.read(other) is None
    for unknown in ("q:nobody", "q-", "", "q-" + "0" * 32, task_id[:-1], task_id + "0"):
        assert await box.records.read(unknown) is None


async def test_cancelling_by_a_guessed_id_changes_nothing(box: Box, plain: redis.Redis) -> None:
    waiting, held = await box.put(2)
    (token,) = await box.alice.take(1)
    assert token.task == waiting

    for task_id in (waiting, held):
        assert await box.records.cancel(guessed(task_id), KNOWN) is None
        assert plain.get(box.keys.record(guessed(task_id))) is None
    assert plain.xlen(box.keys.lanes[1]) == 2
    assert await box.succeed(box.alice, token) == [True]


async def test_digits_in_the_arguments_are_not_the_digits_of_the_id(
    box: Box, plain: redis.Redis
) -> None:
    """Who can write the arguments of a task does not name it by another id."""
    (task_id,) = await box.put()
    ((entry, fields),) = plain.xrange(box.keys.lanes[1])
    other = guessed(task_id)
    plain.xdel(box.keys.lanes[1], entry)
    forged = fields[b"call"] + b" " + other[-14:].encode() + b" "
    plain.xadd(box.keys.lanes[1], {"call": forged})
    again = plain.xrange(box.keys.lanes[1])[0][0]
    place = box.alice.token(1, again, [b"call", forged]).task

    name = place[:-14] + other[-14:]
    assert await box.records.read(name) is None
    assert await box.records.cancel(name, KNOWN) is None
    assert plain.xlen(box.keys.lanes[1]) == 1


async def test_a_waiting_task_is_cancelled_at_once(box: Box, plain: redis.Redis) -> None:
    (placed,) = await box.put()
    await box.put_named(box.named("q:own"))
    await box.put_named(box.named("q:later", delay_ms=60_000))
    plain.xadd(box.keys.output(placed), {"chunk": "1"})

    for task_id in (placed, "q:own", "q:later"):
        told = plain.pubsub(ignore_subscribe_messages=True)
        told.psubscribe(f"{box.keys.prefix}:told*")
        told.get_message(timeout=5)
        assert await box.records.cancel(task_id, KNOWN) is TaskState.CANCELLED
        assert await box.records.cancel(task_id, KNOWN) is TaskState.CANCELLED
        record = plain.get(box.keys.record(task_id))
        message = told.get_message(timeout=5)
        assert message["data"] == box.keys.record(task_id).encode() + b"\n" + record
        assert plain.pttl(box.keys.record(task_id)) > 3_000_000
        told.close()
    keys = box.keys
    assert plain.exists(*keys.lanes, keys.moved, keys.due, keys.parked) == 3, "empty lanes stay"
    assert [plain.xlen(lane) for lane in keys.lanes] == [0, 0, 0]
    assert 0 < plain.pttl(keys.output(placed)) <= 3_600_000


async def test_the_worker_of_a_running_task_is_told(box: Box, plain: redis.Redis) -> None:
    (token,) = await box.held()
    control = plain.pubsub(ignore_subscribe_messages=True)
    control.subscribe(box.keys.control)
    control.get_message(timeout=5)

    assert await box.records.cancel(token.task, KNOWN) is TaskState.RUNNING
    assert control.get_message(timeout=5)["data"] == token.task.encode()
    assert plain.xlen(box.keys.lanes[1]) == 1
    control.close()


async def test_what_has_ended_keeps_its_outcome(box: Box) -> None:
    (token,) = await box.held()
    await box.succeed(box.alice, token)

    assert await box.records.cancel(token.task, KNOWN) is TaskState.SUCCEEDED
    assert await box.records.cancel("q:nobody", KNOWN) is None


async def status(box: Box, task_id: str) -> TaskState | None:
    """What the server knows of a task."""
    record = await box.records.read(task_id)
    return None if record is None else record.status


@pytest.fixture(params=[True, False], ids=["adopted", "kept"])
def theirs(request: pytest.FixtureRequest, adopted: Box, kept: Box) -> Box:
    """A queue around a stream of others, whose entries castwork deletes or leaves."""
    return adopted if request.param else kept


def foreign_id(box: Box, entry: bytes) -> str:
    return f"{box.queue.id_prefix}:{entry.decode()}"


async def test_a_task_of_others_is_known_from_its_entry_on(theirs: Box, plain: redis.Redis) -> None:
    stream, ours = theirs.keys.lanes[3], Hand(theirs.place, process_id("host"))
    waiting = foreign_id(theirs, plain.xadd(stream, {"prompt": "hi"}))
    assert await status(theirs, waiting) is TaskState.QUEUED
    (token,) = await ours.take()
    assert token.task == waiting
    assert await status(theirs, waiting) is TaskState.RUNNING, "it is held, if not announced yet"

    await ours.outcomes.announce([(token.delivery, token.record(TaskState.RUNNING))])
    assert await status(theirs, waiting) is TaskState.RUNNING
    assert await theirs.records.cancel(token.task, KNOWN) is TaskState.RUNNING
    await ours.finish([token], [token.record(TaskState.SUCCEEDED)])
    assert await status(theirs, waiting) is TaskState.SUCCEEDED

    plain.delete(theirs.keys.record(waiting))  # as its time to live does
    for entry in (b"1-1", b"99999999999999-0", waiting.rpartition(":")[2].encode()):
        assert await status(theirs, foreign_id(theirs, entry)) is None
        assert await theirs.records.cancel(foreign_id(theirs, entry), KNOWN) is None


async def test_a_task_that_another_program_holds_runs_there(
    theirs: Box, plain: redis.Redis
) -> None:
    stream = theirs.keys.lanes[3]
    task = foreign_id(theirs, plain.xadd(stream, {"prompt": "hi"}))
    plain.xreadgroup("billing", "node-1", {stream: ">"})

    record = await theirs.records.read(task)
    assert record is not None
    assert (record.status, record.worker, record.attempts) == (TaskState.RUNNING, "node-1", 1)
    assert await theirs.records.cancel(task, record) is None
    assert plain.xlen(stream) == 1


async def test_a_task_ends_when_another_program_has_acknowledged_its_entry(
    theirs: Box, plain: redis.Redis
) -> None:
    stream, heard = theirs.keys.lanes[3], plain.pubsub(ignore_subscribe_messages=True)
    task = foreign_id(theirs, plain.xadd(stream, {"prompt": "hi"}))
    (token,) = await theirs.alice.take()
    await theirs.alice.outcomes.announce([(token.delivery, token.record(TaskState.RUNNING))])
    plain.xadd(theirs.keys.output(task), {"n": 1})
    plain.xclaim(stream, "billing", "node-1", 0, [token.entry])
    assert await status(theirs, task) is TaskState.RUNNING, "it runs at another program"
    assert 0 < plain.pttl(theirs.keys.record(task)) <= 86_400_000, "nobody else may end it"

    with heard:
        heard.subscribe(theirs.place.told(""))
        heard.get_message(timeout=5)
        plain.xack(stream, "billing", token.entry)
        record = await theirs.records.read(task)
        assert record is not None
        assert record.status is TaskState.FAILED
        assert record.error is not None
        assert record.error.type == "AcknowledgedElsewhere"
        assert await theirs.records.read(task) == record
        await eventually(lambda: heard.get_message(timeout=0.1), what="waiters are told")
    for key in (theirs.keys.record(task), theirs.keys.output(task)):
        assert 0 < plain.pttl(key) <= 3_600_000
    assert await theirs.alice.finish([token], [token.record(TaskState.SUCCEEDED)]) == [False]


async def test_a_retry_or_a_new_begin_of_the_group_does_not_end_a_task(
    theirs: Box, plain: redis.Redis
) -> None:
    stream = theirs.keys.lanes[3]
    entries = [plain.xadd(stream, {"n": n}) for n in range(2)]
    retried, again = await theirs.alice.take()
    for token in (retried, again):
        await theirs.alice.outcomes.announce([(token.delivery, token.record(TaskState.RUNNING))])

    await theirs.alice.outcomes.release(retried.delivery, retried.next_entry(), b"")
    assert await status(theirs, foreign_id(theirs, entries[0])) is TaskState.RUNNING
    plain.xgroup_destroy(stream, "billing")
    assert await status(theirs, foreign_id(theirs, entries[1])) is TaskState.RUNNING
    plain.xgroup_create(stream, "billing", "0")
    assert await status(theirs, foreign_id(theirs, entries[1])) is TaskState.RUNNING


async def test_a_waiting_entry_is_cancelled_and_stays_where_others_read_the_stream_too(
    theirs: Box, plain: redis.Redis
) -> None:
    stream, keys = theirs.keys.lanes[3], theirs.keys
    first, second = (plain.xadd(stream, {"n": n}) for n in range(2))
    task, heard = foreign_id(theirs, second), plain.pubsub(ignore_subscribe_messages=True)

    with heard:
        heard.subscribe(keys.control)
        heard.get_message(timeout=5)
        for _ in range(2):
            assert await theirs.records.cancel(task, KNOWN) is TaskState.CANCELLED
            assert await status(theirs, task) is TaskState.CANCELLED
        if theirs.queue.notes_cancels:
            message = await eventually(lambda: heard.get_message(timeout=0.1))
            assert message["data"] == f"{task}\nunwanted".encode()

    plain.delete(keys.record(task))  # as its time to live does
    unwanted = {task} if theirs.queue.notes_cancels else set()
    assert await status(theirs, task) is (TaskState.CANCELLED if unwanted else None)
    assert await theirs.bob.claims.unwanted() == unwanted
    left = [first, second] if unwanted else [first]
    tokens = await theirs.alice.take()
    assert [token.entry for token in tokens] == left
    assert await theirs.bob.claims.unwanted() == unwanted, "it may come back"
    await theirs.alice.finish(tokens, [token.record(TaskState.CANCELLED) for token in tokens])
    assert await theirs.bob.claims.unwanted() == set()
    assert not plain.exists(keys.unwanted)


async def test_a_key_that_holds_something_else_is_told(box: Box, plain: redis.Redis) -> None:
    plain.set(box.keys.record("q:odd"), b"\xff")

    with pytest.raises(UndecodableEntry):
        await box.records.read("q:odd")


async def test_a_task_that_ends_between_two_looks_is_not_missed(
    box: Box, plain: redis.Redis
) -> None:
    """The place in `moved` is read, then the entry is gone: the record tells."""
    await box.put_named(box.named("q:own"))
    place = plain.hget(box.keys.moved, "q:own")
    (token,) = await box.alice.take()
    await box.succeed(box.alice, token)
    plain.hset(box.keys.moved, "q:own", place)
    record = plain.get(box.keys.record("q:own"))
    plain.delete(box.keys.record("q:own"))

    found = await box.records.read("q:own")
    assert found is not None
    assert found.status is TaskState.QUEUED
    plain.set(box.keys.record("q:own"), record)
    found = await box.records.read("q:own")
    assert found is not None
    assert found.status is TaskState.SUCCEEDED
    assert record != QUEUED
