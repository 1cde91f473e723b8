"""Names of keys: each thing has its own, and all of one thing share a slot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork.model.queue import Queue, adopted_queue
from castwork.redis.slots import slot_of
from castwork.store.keys import ChannelKeys, QueueKeys, WorkerKeys

STREAMS = ["events", "{tag}:events", "x}y", "a{}b", "{}x", "{", "}", "{x", "a{b}c{d}", "é{ü}"]


def queue_keys(name: str, namespace: str = "cw") -> set[str]:
    keys = QueueKeys.of(namespace, Queue(name))
    return {
        *keys.lanes, keys.sent, keys.moved, keys.robbed, keys.parked, keys.due, keys.dead,
        keys.letters, keys.control, keys.told(""), keys.told("PRODU1"), keys.record("x"),
        keys.output("x"), keys.key("f", "", "k"),
    }  # fmt: skip


def channel_keys(keys: ChannelKeys) -> set[str]:
    return {keys.live, keys.history, keys.members, keys.positions, keys.applied}


def test_things_of_different_kinds_share_no_keys() -> None:
    register = WorkerKeys("cw")
    kinds = [
        {register.register, register.info},
        *(queue_keys(name) for name in ("workers", "q", "setting", "told", "stream")),
        *(channel_keys(ChannelKeys.of("cw", name)) for name in ("workers", "q", "setting", "told")),
        *(channel_keys(ChannelKeys.of_setting("cw", name)) for name in ("workers", "q", "told")),
        queue_keys("workers", "other"),
    ]

    every = [key for kind in kinds for key in kind]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", ["q", "workers", "a-b", "a.b"])
def test_all_keys_of_a_queue_share_a_slot(name: str) -> None:
    keys = QueueKeys.of("cw", Queue(name))

    assert {slot_of(key) for key in queue_keys(name)} == {keys.slot}


@pytest.mark.parametrize("stream", STREAMS)
def test_keys_beside_an_adopted_stream_land_in_its_slot(stream: str) -> None:
    keys = QueueKeys.of("cw", adopted_queue(stream, "billing"))

    assert keys.lanes[3] == stream
    ours = {*keys.lanes[:3], keys.moved, keys.record("x"), keys.key("f", "", "k"), keys.told("p")}
    assert {slot_of(key) for key in ours} == {keys.slot} == {slot_of(stream)}


@given(
    stream=st.text(alphabet="{}ab:", min_size=1, max_size=8),
    group=st.text(alphabet="ab:", min_size=1, max_size=3),
)
def test_any_stream_has_its_keys_in_its_slot(stream: str, group: str) -> None:
    keys = QueueKeys.of("cw", adopted_queue(stream, group))

    assert slot_of(keys.moved) == slot_of(stream)
    assert stream not in {keys.moved, keys.sent, *keys.lanes[:3]}


def test_streams_of_one_tag_and_groups_of_one_stream_have_keys_of_their_own() -> None:
    adopted = [
        adopted_queue(stream, group)
        for stream in ("{t}:a", "{t}:b", "{t}", "t", "{t}:a:billing")
        for group in ("billing", "shipping")
    ]

    prefixes = [QueueKeys.of("cw", queue).prefix for queue in adopted]
    assert len(set(prefixes)) == len(prefixes)


@given(
    one=st.tuples(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4)),
    other=st.tuples(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4)),
)
def test_different_idempotency_keys_are_different(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    keys = QueueKeys.of("cw", Queue("q"))

    assert (keys.key(*one) == keys.key(*other)) == (one == other)


def test_a_colon_in_a_key_does_not_make_it_another_functions() -> None:
    keys = QueueKeys.of("cw", Queue("q"))

    assert keys.key("mail", "", "digest:7") != keys.key("mail:digest", "", "7")
    assert keys.key("mail", "acme", "7") != keys.key("mail", "", "acme7")
