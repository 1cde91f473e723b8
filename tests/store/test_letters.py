"""Letters: dead letters are found, queued again once, or purged."""

from __future__ import annotations

import redis
from tests.store.box import QUEUED, Box

from castwork.model.states import Priority, TaskState
from castwork.store.letter import Letter


async def bury(box: Box, *, lane: str = "normal") -> Letter:
    (token,) = await box.held()
    letter = Letter("", token.task, "f", 3, lane, [], [b"call", b"f - {}", b"\xff", b"\x00"])
    assert await box.alice.outcomes.bury(token.delivery, token.record(TaskState.DEAD), letter)
    found = await box.letters.find(token.task)
    assert found is not None
    return found


async def test_the_newest_come_first_and_each_is_found_by_either_id(box: Box) -> None:
    made = [await bury(box) for _ in range(3)]

    assert await box.letters.count() == 3
    assert await box.letters.newest(2) == [made[2], made[1]]
    for letter in made:
        assert await box.letters.find(letter.id) == letter
        assert await box.letters.find(letter.task_id) == letter
    for unknown in ("1-1", "1", "q:nobody", "", "-"):
        assert await box.letters.find(unknown) is None


async def test_a_letter_is_queued_again_once_under_its_own_id(box: Box, plain: redis.Redis) -> None:
    letter = await bury(box)
    entry = box.alice.token(1, b"1-1", [b"call", b"f - {}", b"id", letter.task_id.encode()])

    assert await box.letters.replay(letter, entry.next_entry(), Priority.LOW, QUEUED)
    again = await box.letters.replay(letter, entry.next_entry(), Priority.LOW, QUEUED)
    assert again, "as when the reply to the first call was lost"

    (token,) = await box.alice.take()
    assert (token.task, token.lane) == (letter.task_id, 2)
    assert plain.get(box.keys.record(letter.task_id)) == QUEUED
    assert plain.ttl(box.keys.record(letter.task_id)) == -1
    assert plain.exists(box.keys.dead, box.keys.letters) <= 1
    assert await box.letters.count() == 0
    assert await box.succeed(box.alice, token) == [True]
    assert plain.exists(box.keys.moved) == 0
    assert not await box.letters.replay(letter, entry.next_entry(), Priority.LOW, QUEUED)


async def test_a_replay_without_a_record_leaves_none(box: Box, plain: redis.Redis) -> None:
    letter = await bury(box)
    entry = box.alice.token(1, b"1-1", [b"call", b"f - {}"]).next_entry()
    entry.id = letter.task_id

    assert await box.letters.replay(letter, entry, Priority.NORMAL, b"")
    assert plain.get(box.keys.record(letter.task_id)) is None


async def test_a_purged_letter_is_gone_with_all_that_was_its_own(
    box: Box, plain: redis.Redis
) -> None:
    letter = await bury(box)
    plain.xadd(box.keys.output(letter.task_id), {"chunk": "1"})

    assert await box.letters.purge(letter)
    assert await box.letters.purge(letter), "sent again after a lost reply, it answers the same"
    assert await box.letters.find(letter.task_id) is None
    assert plain.exists(box.keys.record(letter.task_id), box.keys.output(letter.task_id)) == 0
    assert plain.hlen(box.keys.letters) == 0


async def test_large_letters_come_in_pages_of_bounded_bytes(box: Box, plain: redis.Redis) -> None:
    fields = {
        "id": "q:x",
        "attempts": 1,
        "lane": "normal",
        "errors": "[]",
        "entry.args": "x" * 10**6,
    }
    ids = [plain.xadd(box.keys.dead, fields).decode() for _ in range(30)]

    seen: list[str] = []
    while page := await box.letters.newest(100, after=seen[-1] if seen else ""):
        assert len(page) <= 12
        seen += [letter.id for letter in page]
    assert seen == ids[::-1]


async def test_a_letter_that_does_not_decode_is_there_to_be_seen_and_purged(
    box: Box, plain: redis.Redis
) -> None:
    good = await bury(box)
    complete = {b"id": b"q:x", b"attempts": b"1", b"lane": b"normal", b"errors": b"[]"}
    bad = [
        {b"\xff": b"\xff"},
        complete | {b"id": b"\xff"},
        complete | {b"attempts": b"9" * 5000},
        complete | {b"errors": b"[" * 100_000},
        complete | {b"errors": b"{}"},
    ]
    for fields in bad:
        plain.xadd(box.keys.dead, fields)

    *broken, last = await box.letters.newest(10)
    assert last == good
    for letter, fields in zip(broken, bad[::-1], strict=True):
        assert (letter.task_id, letter.lane) == ("", "")
        assert dict(zip(letter.fields[::2], letter.fields[1::2], strict=True)) == fields
        assert letter.errors[0]["type"] == "UndecodableEntry"
        assert await box.letters.purge(letter)
    assert await box.letters.newest(10) == [good]


async def test_a_task_whose_id_looks_like_a_letters_is_found(box: Box, plain: redis.Redis) -> None:
    letter = await bury(box)
    plain.hset(box.keys.letters, "12-7", letter.id)
    assert await box.letters.find("12-7") == letter


async def test_large_letters_beyond_the_bound_are_purged_some_at_a_time(
    box: Box, plain: redis.Redis
) -> None:
    fields = {"id": "q:x", "attempts": 1, "lane": "normal", "errors": "[]"}
    fields["entry.args"] = "x" * 10**6
    for _ in range(25):
        plain.xadd(box.keys.dead, fields)

    assert 0 < len(await box.letters.trim()) <= 12
    while await box.letters.trim():
        pass
    assert await box.letters.count() == 5


async def test_the_oldest_beyond_the_bound_are_purged(box: Box, plain: redis.Redis) -> None:
    made = [await bury(box) for _ in range(8)]

    assert await box.letters.trim() == [letter.task_id for letter in made[:3]]
    assert await box.letters.trim() == []
    assert await box.letters.newest(100) == made[:2:-1]
    assert plain.hlen(box.keys.letters) == 5
    for letter in made[:3]:
        assert plain.exists(box.keys.record(letter.task_id)) == 0
