"""Channels over broken connections: every process hears every event once, or is told of the gap."""

from __future__ import annotations

import redis
from tests.eventually import eventually
from tests.faults.ledger import Ledger
from tests.faults.process import Crew, Process
from tests.faults.sample_app import Notes, build
from tests.proxy import Proxy

from castwork import App
from castwork.model.queue import Queue, adopted_queue
from castwork.store.keys import ChannelKeys

#: The queue of the group's handlers.
BILLING = ["sales:billing"]


def billing_queue(history: str) -> Queue:
    return adopted_queue(history, "billing", name="sales:billing", owned=False)


def heard(notes: Notes, process: Process, channel: str = "news") -> list[object]:
    return notes.read(f"{channel}:{process.pid}")


async def hears(notes: Notes, process: Process, events: list[int]) -> None:
    """Wait until a process has heard the last event; it must have heard exactly these."""
    await eventually(lambda: heard(notes, process)[-1:] == events[-1:], what=f"{events[-1]}")
    assert heard(notes, process) == events


async def test_event_reaches_every_process_once(crew: Crew, sample: App, notes: Notes) -> None:
    hearers = [crew.start([]) for _ in range(3)]
    await crew.started(*hearers)
    for number in range(50):
        receipt = await sample.channels["news"].publish(number)
    applied = await receipt.applied(timeout=10)
    assert applied.complete
    assert len(applied.applied) == 3
    for process in hearers:
        assert heard(notes, process) == list(range(50))


async def test_events_come_in_order_while_connections_are_killed(
    crew: Crew, sample: App, notes: Notes, plain: redis.Redis
) -> None:
    hearers = [crew.start([]) for _ in range(2)]
    await crew.started(*hearers)
    await sample.channels["news"].publish(0)
    killed = 0
    for number in range(1, 51):
        if number % 10 == 1:
            killed += await eventually(lambda: kill_pushes(plain))
        await sample.channels["news"].publish(number)
    assert killed >= 10
    for process in hearers:
        await hears(notes, process, list(range(51)))


def kill_pushes(plain: redis.Redis) -> int:
    """CLIENT KILL the pushes connection of every process; 0 while not all are connected."""
    ids = [c["id"] for c in plain.client_list() if c["name"] == "castwork-pushes"]
    return sum(plain.client_kill_filter(_id=i) for i in ids) if len(ids) >= 3 else 0


async def test_events_of_an_outage_are_caught_up(
    crew: Crew, sample: App, notes: Notes, proxy: Proxy
) -> None:
    process = await crew.one([], url=proxy.url)
    await sample.channels["news"].publish(0)
    await hears(notes, process, [0])
    proxy.closed = True
    assert proxy.cut_all() >= 2
    for number in range(1, 51):
        await sample.channels["news"].publish(number)
    assert heard(notes, process) == [0]
    proxy.closed = False
    await hears(notes, process, list(range(51)))


async def test_silent_connection_is_found_and_caught_up(
    crew: Crew, sample: App, notes: Notes, proxy: Proxy
) -> None:
    process = await crew.one([], url=proxy.url)
    await sample.channels["news"].publish(0)
    await hears(notes, process, [0])
    assert proxy.silence() >= 2
    for number in range(1, 51):
        await sample.channels["news"].publish(number)
    await hears(notes, process, list(range(51)))
    assert "is silent, connection castwork-pushes is given up" in process.log()


async def test_history_that_is_too_short_is_told(
    crew: Crew, server_url: str, namespace: str, notes: Notes, proxy: Proxy
) -> None:
    process = await crew.one([], url=proxy.url, history=10)
    publisher = build(server_url, namespace, history=10)
    await publisher.channels["news"].publish(0)
    await hears(notes, process, [0])
    await _publish_during_an_outage(publisher, proxy, range(1, 51))
    await eventually(lambda: heard(notes, process)[-1:] == [50])
    got = heard(notes, process)
    assert got[:2] == [0, "resync"]
    assert 10 <= len(got[2:]) < 50
    assert got[2:] == list(range(51 - len(got[2:]), 51))
    await publisher.close()


async def test_gap_before_the_first_event_is_told(
    crew: Crew, server_url: str, namespace: str, notes: Notes, proxy: Proxy
) -> None:
    process = await crew.one([], url=proxy.url, history=10)
    publisher = build(server_url, namespace, history=10)
    await publisher.connections.open()
    await _publish_during_an_outage(publisher, proxy, range(50))
    await eventually(lambda: heard(notes, process)[-1:] == [49])
    assert heard(notes, process)[0] == "resync"
    await publisher.close()


async def test_history_that_was_deleted_is_told(
    crew: Crew, sample: App, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    process = await crew.one([])
    await sample.channels["news"].publish(0)
    await hears(notes, process, [0])
    plain.delete(ChannelKeys.of(namespace, "news").history)
    await sample.channels["news"].publish(1)
    await eventually(lambda: heard(notes, process)[-1:] == [1])
    assert heard(notes, process) == [0, "resync", 1]


async def _publish_during_an_outage(publisher: App, proxy: Proxy, events: range) -> None:
    proxy.closed = True
    assert proxy.cut_all() >= 2
    for number in events:
        await publisher.channels["news"].publish(number)
    proxy.closed = False


async def test_plain_channel_tells_of_a_reconnect(
    crew: Crew, sample: App, notes: Notes, proxy: Proxy, namespace: str
) -> None:
    process = await crew.one([], url=proxy.url)
    orders = sample.channels[f"{namespace}:orders"]
    await orders.publish({"order": 1})
    await eventually(lambda: heard(notes, process, "orders") == [{"order": 1}])
    proxy.closed = True
    assert proxy.cut_all() >= 2
    await orders.publish({"order": 2})  # nobody keeps it
    proxy.closed = False
    await eventually(lambda: heard(notes, process, "orders") == [{"order": 1}, "resync"])
    await orders.publish({"order": 3})
    await eventually(lambda: len(heard(notes, process, "orders")) == 3)
    assert heard(notes, process, "orders")[2] == {"order": 3}


async def test_group_handles_each_event_though_a_process_is_killed(
    crew: Crew, sample: App, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    history = ChannelKeys.of(namespace, "sales").history
    processes = [crew.start(BILLING, concurrency=3) for _ in range(3)]
    await crew.started(*processes)
    for number in range(200):
        await sample.channels["sales"].publish(number)
        if number == 100:
            processes[0].kill()
    bills = notes.key("bills")
    await eventually(lambda: plain.hlen(bills) == 200)
    await eventually(lambda: plain.xpending(history, "billing")["pending"] == 0)
    counts = {int(event): int(n) for event, n in plain.hgetall(bills).items()}
    assert set(counts) == set(range(200))
    # Only what the killed process had in hand may have been handled twice.
    assert sum(counts.values()) - 200 <= 3
    assert max(counts.values()) <= 2
    assert plain.xlen(history) == 200
    ledger = Ledger(plain, namespace, billing_queue(history))
    ledger.assert_nothing_waits()
    assert ledger.dead() == []


async def test_event_that_a_group_cannot_handle_is_retried_and_buried(
    crew: Crew, sample: App, notes: Notes, plain: redis.Redis, namespace: str
) -> None:
    history = ChannelKeys.of(namespace, "sales").history
    await crew.one(BILLING)
    for event in (1, -1, 2):
        await sample.channels["sales"].publish(event)
    ledger = Ledger(plain, namespace, billing_queue(history))
    [letter] = await eventually(ledger.dead, within=20)
    assert letter[b"attempts"] == b"3"
    assert b"this one cannot be billed" in letter[b"errors"]
    await eventually(ledger.is_empty)
    bills = {int(event): int(n) for event, n in plain.hgetall(notes.key("bills")).items()}
    assert bills == {1: 1, -1: 3, 2: 1}
    [dead] = [d for d in sample.dead_letters() if [d.queue] == BILLING]
    [shown] = await dead.list()
    assert (shown.task, shown.attempts) == ("sales:billing", 3)
    await dead.replay(shown.id)  # the fourth attempt succeeds
    await eventually(lambda: plain.hget(notes.key("bills"), "-1") == b"4")
    await eventually(ledger.is_empty)
    assert ledger.dead() == []
    assert plain.keys(f"{ledger.keys.record('')}*") == []  # groups keep no records
    assert plain.xpending(history, "billing")["pending"] == 0
