"""What a worker says of tasks that it holds: stored once, and only while it holds them."""

from __future__ import annotations

import msgspec
import pytest
import redis
from tests.store.box import QUEUED, SCHEDULED, Box
from tests.store.hands import Token

from castwork.model.queue import Queue
from castwork.model.settings import LinkSettings
from castwork.model.states import Priority, TaskState
from castwork.redis.connections import Connections
from castwork.store.letter import Letter


def record(token: Token, status: TaskState = TaskState.SUCCEEDED) -> bytes:
    return token.record(status)


async def test_finished_tasks_leave_their_records_and_nothing_else(
    box: Box, plain: redis.Redis
) -> None:
    tokens = await box.held(3)

    assert await box.succeed(box.alice, *tokens) == [True] * 3

    for token in tokens:
        assert plain.get(box.keys.record(token.task)) == record(token)
        assert 0 < plain.pttl(box.keys.record(token.task)) <= 600_000
    assert plain.xlen(box.keys.lanes[1]) == 0
    assert plain.xpending(box.keys.lanes[1], "workers")["pending"] == 0
    assert plain.exists(box.keys.moved, box.keys.robbed) == 0


async def test_finishing_again_answers_as_the_first_time(box: Box, plain: redis.Redis) -> None:
    tokens = await box.held(3)
    await box.succeed(box.alice, *tokens)
    (late,) = await box.held()

    assert await box.succeed(box.alice, *tokens) == [True] * 3
    assert await box.succeed(box.alice, *tokens[:2], late, tokens[2]) == [True] * 4
    assert plain.xlen(box.keys.lanes[1]) == 0


async def test_one_call_finishes_tasks_of_all_lanes_and_of_several_producers(
    box: Box, plain: redis.Redis
) -> None:
    ids = [
        *await box.put(2, Priority.HIGH, "PRODU1"),
        *await box.put(2, Priority.LOW, "PRODU2"),
        *await box.put(2, Priority.NORMAL, "PRODU1"),
    ]
    await box.put_named(box.named("q:mine"))
    with plain.pubsub(ignore_subscribe_messages=True) as heard:
        for channel in ("PRODU1", "PRODU2", ""):
            heard.subscribe(box.place.told(channel))
            heard.get_message(timeout=5)
        tokens = await box.alice.take()
        assert {token.task for token in tokens} == {*ids, "q:mine"}

        assert all(await box.succeed(box.alice, *tokens))

        told: dict[str, list[bytes]] = {}
        for _ in range(4):
            message = heard.get_message(timeout=5)
            told.setdefault(message["channel"].decode(), []).append(message["data"])

    # One message for each row of tasks alike: the records' keys, and then the records.
    lines = {name: [m.split(b"\n") for m in messages] for name, messages in told.items()}
    by_id = {box.keys.record(token.task).encode(): record(token) for token in tokens}
    for messages in lines.values():
        for message in messages:
            half = len(message) // 2
            assert [by_id[key] for key in message[:half]] == message[half:]
    keys = [
        {key for message in lines[box.place.told(p)] for key in message[: len(message) // 2]}
        for p in ("PRODU1", "PRODU2", "")
    ]
    made = [box.keys.record(task_id).encode() for task_id in ids]
    assert keys == [{*made[:2], *made[4:]}, set(made[2:4]), {box.keys.record("q:mine").encode()}]
    assert len(told[box.place.told("PRODU2")]) == 1


async def test_a_robbed_workers_outcome_never_wins(box: Box, plain: redis.Redis) -> None:
    (mine, other) = await box.held(2)
    (theirs,) = await box.bob.take_over(1, count=1)
    assert theirs.task == mine.task

    # The task that it still holds is stored all the same, in the same call.
    assert await box.succeed(box.alice, mine, other) == [False, True]
    assert plain.get(box.keys.record(mine.task)) is None
    assert await box.succeed(box.bob, theirs) == [True]
    assert await box.succeed(box.alice, mine) == [False]
    assert plain.get(box.keys.record(mine.task)) == record(theirs)


async def test_a_worker_that_took_its_own_task_over_cannot_end_the_earlier_attempt(
    box: Box,
) -> None:
    (before,) = await box.held()
    (now,) = await box.alice.take_over(1)

    assert (now.deliveries, now.worker) == (2, before.worker)
    assert await box.succeed(box.alice, before) == [False]
    assert await box.succeed(box.alice, now) == [True]


async def test_a_task_that_was_elsewhere_is_not_any_more(box: Box, plain: redis.Redis) -> None:
    await box.put_named(box.named("q:mine"))
    assert plain.hkeys(box.keys.moved) == [b"q:mine"]
    (token,) = await box.alice.take()

    assert await box.succeed(box.alice, token) == [True]
    assert plain.exists(box.keys.moved) == 0


async def test_chunks_are_kept_as_long_as_the_record(box: Box, plain: redis.Redis) -> None:
    await box.held()
    (token,) = await box.bob.take_over(1)  # a later attempt may have chunks of an earlier one
    plain.xadd(box.keys.output(token.task), {"chunk": "1"})

    assert await box.succeed(box.bob, token) == [True]
    assert 0 < plain.pttl(box.keys.output(token.task)) <= 600_000


async def test_entries_of_others_are_deleted_or_kept(
    adopted: Box, kept: Box, plain: redis.Redis
) -> None:
    stream = adopted.keys.lanes[3]
    assert stream == kept.keys.lanes[3]
    await adopted.put()
    plain.xadd(stream, {"prompt": "hi"})
    tokens = await kept.alice.take()
    foreign = [token for token in tokens if token.lane == 3]

    assert await kept.succeed(kept.alice, *tokens) == [True, True]
    assert plain.xlen(stream) == 1
    assert plain.xpending(stream, "billing")["pending"] == 0
    assert await kept.succeed(kept.alice, *foreign) == [True], "a repeat finds its record"

    plain.xgroup_setid(stream, "billing", "0")
    (token,) = await adopted.alice.take()
    assert await adopted.succeed(adopted.alice, token) == [True]
    assert plain.xlen(stream) == 0


async def test_records_are_stored_where_the_server_lacks_msetex_after_all(
    redis_url: str, namespace: str
) -> None:
    """A server takes over that is older than the one that was asked what it can do."""
    connections = Connections(lambda: redis_url, LinkSettings())
    box = Box(connections, namespace, Queue("q"))
    await box.alice.claims.create_groups()
    assert connections.server is not None
    connections.server = msgspec.structs.replace(connections.server, has_msetex=True)
    with redis.Redis.from_url(redis_url) as plain:
        with pytest.raises(redis.ResponseError, match="unknown command"):
            plain.execute_command("MSETEX", 1, f"{namespace}:x", "y")
        tokens = await box.held(3)

        assert await box.succeed(box.alice, *tokens) == [True] * 3
        assert await box.succeed(box.alice, *tokens) == [True] * 3

        for token in tokens:
            assert plain.get(box.keys.record(token.task)) == record(token)
            assert 0 < plain.pttl(box.keys.record(token.task)) <= 600_000
    await connections.close()


async def test_announcing_tells_that_tasks_run_and_renews_their_leases(
    box: Box, plain: redis.Redis
) -> None:
    tokens = await box.held(3)
    group = [(token.delivery, record(token, TaskState.RUNNING)) for token in tokens]

    assert await box.alice.outcomes.announce(group) == 3
    assert await box.alice.outcomes.announce(group) == 3

    for token in tokens:
        assert plain.get(box.keys.record(token.task)) == record(token, TaskState.RUNNING)
    pending = plain.xpending_range(box.keys.lanes[1], "workers", "-", "+", 10)
    assert [(p["consumer"], p["times_delivered"]) for p in pending] == [(b"alice", 1)] * 3


async def test_announcing_late_changes_nothing_of_what_has_ended_or_is_lost(
    box: Box, plain: redis.Redis
) -> None:
    ended, lost, held = await box.held(3)
    await box.succeed(box.alice, ended)
    group = [(token.delivery, record(token, TaskState.RUNNING)) for token in (ended, lost, held)]

    assert await box.alice.outcomes.announce(group) == 2
    assert plain.get(box.keys.record(ended.task)) == record(ended)

    (theirs, _) = await box.bob.take_over(1)
    await box.bob.outcomes.announce([(theirs.delivery, record(theirs, TaskState.RUNNING))])
    assert await box.alice.outcomes.announce(group) == 0
    assert plain.get(box.keys.record(lost.task)) == record(theirs, TaskState.RUNNING)


async def test_a_parked_task_waits_for_its_time_under_its_own_id(
    box: Box, plain: redis.Redis
) -> None:
    (token,) = await box.held()

    def park():  # type: ignore[no-untyped-def]
        return box.alice.outcomes.park(
            token.delivery, token.next_entry(), 60_000, SCHEDULED, QUEUED
        )

    assert await park()
    assert await park(), "a repeat finds what it parked"
    assert plain.xlen(box.keys.lanes[1]) == 0
    assert plain.zcard(box.keys.due) == plain.hlen(box.keys.parked) == 1
    assert plain.get(box.keys.record(token.task)) == SCHEDULED
    assert plain.exists(box.keys.moved) == 0


async def test_a_released_task_can_be_taken_at_once(box: Box, plain: redis.Redis) -> None:
    (token,) = await box.held()

    assert await box.alice.outcomes.release(token.delivery, token.next_entry(), QUEUED)
    assert not await box.alice.outcomes.release(token.delivery, token.next_entry(), QUEUED)

    (again,) = await box.bob.take()
    assert (again.task, again.attempts, again.moved) == (token.task, 2, True)
    assert plain.hget(box.keys.moved, token.task) == b"normal:" + again.entry


async def test_a_task_of_others_goes_back_to_a_lane_of_ours(
    adopted: Box, plain: redis.Redis
) -> None:
    stream = adopted.keys.lanes[3]
    plain.xadd(stream, {"prompt": "hi"})
    (token,) = await adopted.alice.take()

    assert await adopted.alice.outcomes.release(token.delivery, token.next_entry(), QUEUED)
    assert plain.xlen(stream) == 0
    (again,) = await adopted.alice.take()
    assert (again.task, again.lane) == (token.task, 1)


async def test_a_buried_task_is_a_letter_and_a_final_record(box: Box, plain: redis.Redis) -> None:
    (token,) = await box.held()
    fields = [b"call", b"f - {}", b"\xff", b"\x00bytes"]
    letter = Letter("", token.task, "f", 3, "normal", [{"type": "ValueError"}], fields)
    final = record(token, TaskState.DEAD)

    assert await box.alice.outcomes.bury(token.delivery, final, letter)
    assert await box.alice.outcomes.bury(token.delivery, final, letter)

    assert await box.letters.count() == 1
    found = await box.letters.find(token.task)
    assert found is not None
    assert found._replace(id="") == letter
    assert plain.get(box.keys.record(token.task)) == final
    assert plain.xlen(box.keys.lanes[1]) == 0


async def test_what_is_lost_is_neither_parked_released_nor_buried(
    box: Box, plain: redis.Redis
) -> None:
    (token,) = await box.held()
    (theirs,) = await box.bob.take_over(1)
    outcomes, entry = box.alice.outcomes, token.next_entry()
    letter = Letter("", token.task, "f", 1, "normal", [], [b"call", b"f - {}"])

    assert not await outcomes.park(token.delivery, entry, 0, SCHEDULED, QUEUED)
    assert not await outcomes.release(token.delivery, entry, QUEUED)
    assert not await outcomes.bury(token.delivery, record(token, TaskState.DEAD), letter)

    assert plain.exists(box.keys.due, box.keys.parked, box.keys.dead, box.keys.moved) == 0
    assert await box.succeed(box.bob, theirs) == [True]
