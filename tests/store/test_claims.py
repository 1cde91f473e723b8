"""Claims: how a worker gets tasks, and what others left."""

from __future__ import annotations

import pytest
import redis
from tests.eventually import eventually
from tests.store.box import Box
from tests.store.hands import Hand

from castwork.model.ids import is_worker_id, process_id
from castwork.model.queue import Queue, adopted_queue
from castwork.model.states import Priority
from castwork.redis.connections import Connections
from castwork.redis.replies import NoGroup


async def test_groups_are_made_once_from_the_beginning(
    connections: Connections, namespace: str, plain: redis.Redis
) -> None:
    box = Box(connections, namespace, Queue("q"))
    await box.put()  # before any worker was there

    await box.alice.claims.create_groups()
    await box.bob.claims.create_groups()

    for stream in box.keys.lanes:
        assert [group["name"] for group in plain.xinfo_groups(stream)] == [b"workers"]
    assert len(await box.bob.take()) == 1


async def test_urgent_lanes_go_first_and_the_others_have_their_shares(box: Box) -> None:
    for lane in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        await box.put(5, lane)

    batch = await box.alice.claims.claim(7, [0, 1, 1])
    taken = {lane: sum(len(e) for at, e in batch.lanes if at == lane) for lane in range(3)}
    assert taken == {0: 5, 1: 1, 2: 1}
    assert batch.now_ms > 1_700_000_000_000

    batch = await box.alice.claims.claim(6, [0, 0, 0])
    assert [(lane, len(entries)) for lane, entries in batch.lanes] == [(1, 4), (2, 2)]
    assert (await box.alice.claims.claim(5, [0, 0, 3])).lanes[0][0] == 2
    assert (await box.alice.claims.claim(5, [1, 1, 1])).lanes == []


async def test_one_lane_is_claimed_with_word_of_the_others(box: Box) -> None:
    await box.put(3)

    batch, others = await box.alice.claims.claim_from(1, 2)
    assert [(lane, len(entries)) for lane, entries in batch.lanes] == [(1, 2)]
    assert (others, batch.now_ms > 1_700_000_000_000) == (False, True)

    await box.put(1, Priority.HIGH)
    batch, others = await box.alice.claims.claim_from(1, 2)
    assert (len(batch.lanes[0][1]), others) == (1, True)
    batch, others = await box.alice.claims.claim_from(1, 2)
    assert (list(batch.lanes[0][1]), others) == ([], True)


@pytest.mark.parametrize("from_one_lane", [False, True])
async def test_a_group_that_is_gone_is_told(
    box: Box, plain: redis.Redis, from_one_lane: bool
) -> None:
    plain.delete(*box.keys.lanes)

    with pytest.raises(NoGroup):
        if from_one_lane:
            await box.alice.claims.claim_from(1, 2)
        else:
            await box.alice.claims.claim(2, [0, 0, 0])
    with pytest.raises(NoGroup):
        await box.alice.take_over(1)
    assert await box.alice.claims.retire("alice") == 0


async def test_what_was_claimed_unheard_is_read_without_being_delivered_anew(
    box: Box, plain: redis.Redis
) -> None:
    tokens = await box.held(3)
    plain.xdel(box.keys.lanes[1], tokens[1].entry)

    pending = await box.alice.claims.pending(1, 10)
    assert pending == [(token.entry, 1) for token in tokens]
    left = await box.alice.claims.read_pending(1, pending)

    assert [one.entry_id for one in left] == [tokens[0].entry, tokens[2].entry]
    assert [box.alice.token(1, *one) for one in left] == [tokens[0], tokens[2]]
    assert await box.alice.claims.pending(1, 10) == [(t.entry, 1) for t in (tokens[0], tokens[2])]
    assert await box.bob.claims.pending(1, 10) == []


async def test_what_is_left_is_taken_over_page_by_page_and_only_after_its_lease(box: Box) -> None:
    tokens = await box.held(5)
    claims = box.bob.claims

    none = await claims.recover(1, lease_ms=60_000, cursor="-", count=3)
    assert (none.cursor, none.left) == ("-", [])
    first = await claims.recover(1, lease_ms=0, cursor="-", count=3)
    second = await claims.recover(1, lease_ms=0, cursor=first.cursor, count=3)

    assert second.cursor == "-"
    assert abs(second.now_ms - (await box.alice.claims.claim(1, [0, 0, 0])).now_ms) < 60_000
    left = first.left + second.left
    assert [one.entry_id for one in left] == [token.entry for token in tokens]
    assert {one.deliveries for one in left} == {2}


async def test_what_a_worker_held_that_is_known_to_be_gone_is_taken_over_at_once(
    box: Box, plain: redis.Redis
) -> None:
    gone = await box.held(3)
    await box.put(1)
    [live] = await box.bob.take()

    assert await box.alice.claims.abandon(lease_ms=60_000) == 3
    assert await box.alice.claims.abandon(lease_ms=60_000) == 3, "as before"
    found = await box.bob.claims.recover(1, lease_ms=60_000, cursor="-", count=10)
    assert [one.entry_id for one in found.left] == [token.entry for token in gone]
    assert {one.deliveries for one in found.left} == {2}
    assert live.entry not in {one.entry_id for one in found.left}


async def test_what_two_workers_were_lost_with_is_taken_by_who_asks_for_it(
    box: Box, plain: redis.Redis
) -> None:
    tokens = await box.held(4)
    recover, group = box.bob.claims.recover, box.place.queue.group
    lost = {"idle": 60_000, "retrycount": 2}
    plain.xclaim(box.keys.lanes[1], group, "x", 0, [t.entry for t in tokens[:2]], **lost)
    plain.xclaim(
        box.keys.lanes[1], group, "x", 0, [t.entry for t in tokens[2:]], idle=60_000, justid=True
    )

    found = await recover(1, lease_ms=30_000, cursor="-", count=1)
    assert (found.suspects, [one.entry_id for one in found.left]) == (2, [tokens[2].entry])
    suspect = await recover(1, lease_ms=30_000, cursor="-", count=1, suspect=True)
    assert [(one.entry_id, one.deliveries) for one in suspect.left] == [(tokens[0].entry, 3)]
    long_ago = await recover(1, lease_ms=5_000, cursor="-", count=10)
    assert (long_ago.suspects, len(long_ago.left)) == (0, 2), "nobody asked for twelve leases"


@pytest.mark.parametrize(
    ("owner", "is_ours"),
    [
        ("node", True),  # a name that castwork makes of this one
        ("a-b-7-0123abcd", True),
        ("consumer-1", False),
        ("billing-7-0123ABCD", False),
        ("billing-x-0123abcd", False),
        ("billing-7-0123abcd-0", False),
        ("7-0123abcd", False),
        ("ü\n-7-0123abcd", True),
        ("host-7-0123abcd.2", True),
        ("host-7-0123abcd.2.", False),
        ("7.2", False),
    ],
)
async def test_consumers_of_other_programs_have_a_lease_of_their_own(
    connections: Connections, namespace: str, plain: redis.Redis, owner: str, is_ours: bool
) -> None:
    queue = adopted_queue(f"{namespace}:events", "billing", foreign_lease=300)
    box = Box(connections, namespace, queue)
    await box.alice.claims.create_groups()
    owner = process_id(owner) if owner == "node" else owner
    entries = [plain.xadd(f"{namespace}:events", {"n": n}) for n in range(3)]
    plain.xreadgroup("billing", owner, {f"{namespace}:events": ">"})
    for entry, idle in zip(entries, (14_000, 200_000, 301_000), strict=True):
        plain.xclaim(f"{namespace}:events", "billing", owner, 0, [entry], idle=idle, justid=True)

    found = await box.alice.claims.recover(3, lease_ms=15_000, cursor="-", count=10)

    assert is_worker_id(owner) is is_ours
    assert [one.entry_id for one in found.left] == (entries[1:] if is_ours else entries[2:])


async def test_idle_consumers_of_other_programs_are_not_forgotten(
    adopted: Box, plain: redis.Redis
) -> None:
    stream, worker = adopted.place.keys.lanes[3], process_id("node")
    for name in ("consumer-1", worker):
        plain.xgroup_createconsumer(stream, "billing", name)
    claims = adopted.alice.claims
    await eventually(lambda: plain.xinfo_consumers(stream, "billing")[0]["idle"] > 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("castwork.store.claims._FORGET_AFTER_MS", 0)
        await claims.retire()

    assert [one["name"] for one in plain.xinfo_consumers(stream, "billing")] == [b"consumer-1"]


async def test_taking_over_notes_the_newest_entry_of_each_worker(
    box: Box, plain: redis.Redis
) -> None:
    await box.put(1, Priority.LOW)
    (older,) = await box.alice.take()
    newer = await box.held(2, Priority.HIGH)

    await box.bob.take_over(0)
    assert plain.hgetall(box.keys.robbed) == {b"alice": newer[1].entry}
    await box.bob.take_over(2)  # older ones, taken later
    assert plain.hgetall(box.keys.robbed) == {b"alice": newer[1].entry}
    assert older.entry < newer[1].entry
    await box.alice.take_over(2)
    assert plain.hgetall(box.keys.robbed)[b"bob"] == older.entry


async def test_an_entry_that_somebody_deleted_is_not_pending_for_ever(
    box: Box, plain: redis.Redis
) -> None:
    gone, there = await box.held(2)
    plain.xdel(box.keys.lanes[1], gone.entry)

    assert [token.entry for token in await box.bob.take_over(1)] == [there.entry]
    assert plain.xpending(box.keys.lanes[1], "workers")["pending"] == 1


async def test_a_worker_that_leaves_is_forgotten_unless_it_holds_something(
    box: Box, plain: redis.Redis
) -> None:
    def workers() -> set[bytes]:
        return {
            worker["name"]
            for stream in box.keys.lanes
            for worker in plain.xinfo_consumers(stream, "workers")
        }

    await box.held()
    await box.bob.take()
    assert workers() == {b"alice", b"bob"}

    assert await box.alice.claims.retire("alice") > 0  # in the lanes where it holds nothing
    assert await box.bob.claims.retire("bob") > 0
    assert workers() == {b"alice"}
    held = plain.xinfo_consumers(box.keys.lanes[1], "workers")
    assert [(worker["name"], worker["pending"]) for worker in held] == [(b"alice", 1)]


async def test_a_note_of_a_takeover_goes_when_nothing_as_old_is_pending(
    box: Box, plain: redis.Redis
) -> None:
    first, second = await box.held(2)
    theirs = await box.bob.take_over(1)
    later = await box.held()

    await box.bob.claims.retire("alice")
    assert plain.hgetall(box.keys.robbed) == {b"alice": second.entry}
    await box.succeed(box.bob, theirs[0])
    await box.bob.claims.retire("alice")
    assert plain.hgetall(box.keys.robbed) == {b"alice": second.entry}
    await box.succeed(box.bob, theirs[1])
    await box.bob.claims.retire()
    assert plain.hgetall(box.keys.robbed) == {}, "what is pending is newer"

    # A worker that wakes up long after: its outcomes find that nothing is pending.
    assert await box.succeed(box.alice, first, second, *later) == [False, False, True]


async def test_answers_to_producers_are_forgotten_after_an_hour(
    box: Box, plain: redis.Redis
) -> None:
    await box.put()
    await box.put()
    seconds, _ = plain.time()
    plain.hset(box.keys.sent, "OLD:1", f"7 {(seconds - 3700) * 1000} 1-1/1")
    plain.hset(box.keys.sent, "BAD:1", "nonsense")
    assert plain.hlen(box.keys.sent) == 4

    await box.alice.claims.retire()
    assert plain.hlen(box.keys.sent) == 2
    assert all(not name.startswith((b"OLD", b"BAD")) for name in plain.hkeys(box.keys.sent))


async def test_many_answers_are_forgotten_in_a_few_passes(box: Box, plain: redis.Redis) -> None:
    plain.hset(box.keys.sent, mapping={f"OLD:{n}": "7 1 1-1/1" for n in range(15_000)})
    hand = Hand(box.place, "carol")

    passes = 0
    while plain.hlen(box.keys.sent):
        await hand.claims.retire()
        passes += 1
        assert passes <= 30
    assert passes > 1, "little at a time"
