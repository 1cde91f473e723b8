from __future__ import annotations

import asyncio

from castwork.redis.inbox import Inbox


async def test_messages_come_in_their_order_and_once() -> None:
    inbox = Inbox()
    for message in (b"a", b"b"):
        inbox.on_message(message)

    assert await inbox.wait()
    assert inbox.take() == [b"a", b"b"]
    assert inbox.take() == []


async def test_a_reader_that_waits_is_woken_by_a_message() -> None:
    inbox = Inbox()
    waiting = asyncio.ensure_future(inbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()

    inbox.on_message(b"a")

    assert await asyncio.wait_for(waiting, 5)


async def test_of_too_many_messages_the_newest_stay_and_the_others_are_counted() -> None:
    inbox = Inbox(max_bytes=1000)
    for number in range(100):
        inbox.on_message(b"%04d" % number)

    assert await inbox.wait()
    assert inbox.has_gap
    held = inbox.take()
    assert held == [b"%04d" % number for number in range(100 - len(held), 100)]
    assert 5 < len(held) < 20, "each counts with what Python needs for it"
    assert inbox.dropped == 100 - len(held)

    assert inbox.take_gap()
    inbox.on_message(b"later")
    assert inbox.take() == [b"later"]
    assert not inbox.take_gap()


async def test_a_message_over_the_bound_by_itself_is_a_gap() -> None:
    inbox = Inbox(max_bytes=10)
    inbox.on_message(b"x" * 11)

    assert await inbox.wait()
    assert inbox.take_gap()


async def test_the_bound_holds_again_after_a_take() -> None:
    inbox = Inbox(max_bytes=110)
    for _ in range(50):
        inbox.on_message(b"12345")
        inbox.on_message(b"12345")
        assert len(inbox.take()) == 2

    assert not inbox.has_gap


async def test_a_reconnect_is_something_new() -> None:
    inbox = Inbox()
    inbox.on_message(b"before")
    inbox.on_resumed()

    assert await inbox.wait()
    assert inbox.has_gap
    assert inbox.take_gap()
    assert inbox.take() == [b"before"]


async def test_a_closed_inbox_ends_the_wait_and_holds_nothing() -> None:
    inbox = Inbox()
    inbox.on_message(b"a")

    inbox.close()
    inbox.on_message(b"b")

    assert not await inbox.wait()
    assert inbox.take() == []


async def test_closing_wakes_the_reader() -> None:
    inbox = Inbox()
    waiting = asyncio.ensure_future(inbox.wait())
    await asyncio.sleep(0)

    inbox.close()

    assert not await asyncio.wait_for(waiting, 5)
