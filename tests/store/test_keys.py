"""Names of keys: each thing has its own, and all of one thing share a slot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castwork.model.ids import own_id, prefix_of
from castwork.model.queue import Queue, adopted_queue
from castwork.redis.slots import slot_of
from castwork.store.keys import NAMING_WORDS, ChannelKeys, QueueKeys, WorkerKeys

STREAMS = ["events", "{tag}:events", "x}y", "a{}b", "{}x", "{", "}", "{x", "a{b}c{d}", "é{ü}"]


#: Names that meet where parts are put together: parts of keys, marks, and what replaces a mark.
PARTS = st.lists(
    st.sampled_from(
        ["a", "b", ":", "task", "out", "key", "sent", "stream", "{a}", "{", "}", "~3A"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
ADOPTED = st.builds(adopted_queue, PARTS, PARTS)
OWN = st.builds(Queue, st.sampled_from(["a", "b", "ab", "task", "sent", "stream", "key", "out"]))
NAMESPACES = st.sampled_from(["a", "b", "a:b", "{a}", "a}:b", "a:setting", "key", "~3A"])


def queue_keys(name: str, namespace: str = "cw") -> set[str]:
    return all_keys(QueueKeys.of(namespace, Queue(name)), f"{name}:x")


def all_keys(keys: QueueKeys, task_id: str) -> set[str]:
    return {
        *keys.own.values(), keys.sent, keys.moved, keys.robbed, keys.parked, keys.due, keys.dead,
        keys.letters, keys.control, keys.told(""), keys.told("PRODU1"),
        keys.record(task_id), keys.output(task_id), keys.key("f", "", "k"),
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


@settings(deadline=None)  # finding a tag for a name with lone braces takes its time
@given(
    one=st.tuples(NAMESPACES, ADOPTED | OWN),
    other=st.tuples(NAMESPACES, ADOPTED | OWN),
    own=st.sampled_from(["sent", "a", "1-0"]),
)
def test_different_queues_share_neither_keys_nor_ids(
    one: tuple[str, Queue], other: tuple[str, Queue], own: str
) -> None:
    keys, ids = [], []
    for namespace, queue in (one, other):
        ids.append(f"{queue.id_prefix}:{own}")
        keys.append(all_keys(QueueKeys.of(namespace, queue), ids[-1]))

    named = [
        (queue.stream, queue.group) if queue.stream else (namespace, queue.name)
        for namespace, queue in (one, other)
    ]
    is_one = named[0] == named[1] and (one[1].stream is None) == (other[1].stream is None)
    assert (keys[0] == keys[1]) == is_one
    assert is_one or keys[0].isdisjoint(keys[1])
    in_one_app = [(queue.stream, queue.group, queue.name) for _, queue in (one, other)]
    assert (ids[0] == ids[1]) == (in_one_app[0] == in_one_app[1])
    assert [prefix_of(task_id) for task_id in ids] == [one[1].id_prefix, other[1].id_prefix]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (adopted_queue("a", "b:c"), adopted_queue("a:b", "c")),
        (adopted_queue("{t}a", "b:c"), adopted_queue("{t}a:b", "c")),
        (adopted_queue("t", "{t}a"), adopted_queue("{t}a", "b")),
        (adopted_queue("{t}b", "g"), adopted_queue("{t}b:g:task:{t}b", "g")),
        (adopted_queue("cw:stream", "task"), Queue("stream")),
        (adopted_queue("cw:stream", "out"), Queue("stream")),
    ],
)
def test_names_that_look_like_one_when_joined_are_two(one: Queue, other: Queue) -> None:
    keys = [
        all_keys(QueueKeys.of("cw", queue), own_id(queue.id_prefix, text))
        for queue in (one, other)
        for text in ("sent", "high", "normal")
    ]

    assert set().union(*keys[:3]).isdisjoint(set().union(*keys[3:]))
    assert one.id_prefix != other.id_prefix


@pytest.mark.parametrize(
    ("stream", "group", "prefix", "id_prefix"),
    [
        ("orders", "billing", "{orders}:billing", "orders:billing"),
        (
            "ai:inference:queue",
            "workers",
            "{ai:inference:queue}:workers",
            "ai:inference:queue:workers",
        ),
        ("{t}:orders", "a-b.c", "{t}:{t}:orders:a-b.c", "{t}:orders:a-b.c"),
        ("orders", "task", "{orders}:task", "orders:task"),
        ("50%", "~me", "{50%}:~me", "50%:~me"),
    ],
)
def test_usual_names_stand_in_keys_and_ids_as_they_are(
    stream: str, group: str, prefix: str, id_prefix: str
) -> None:
    queue = adopted_queue(stream, group)

    assert QueueKeys.of("cw", queue).prefix == prefix
    assert queue.id_prefix == id_prefix


def test_words_before_names_in_keys_are_known() -> None:
    keys = QueueKeys.of("cw", Queue("q"))
    named = [keys.record(":x"), keys.output(":x"), keys.saved(":x")]
    named += [keys.arrived(":x"), keys.told(":x"), keys.key(":x", "", "")]

    assert {key.split(":")[2] for key in named} == NAMING_WORDS


@given(
    one=st.tuples(NAMESPACES, st.sampled_from(["c", "b:c", "setting:c", "a"])),
    other=st.tuples(NAMESPACES, st.sampled_from(["c", "b:c", "setting:c", "a"])),
)
def test_channels_of_different_namespaces_share_no_keys(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    keys = [channel_keys(ChannelKeys.of(*names)) for names in (one, other)]
    setting = channel_keys(ChannelKeys.of_setting(*one))

    assert keys[0].isdisjoint(keys[1]) == (one != other)
    assert setting.isdisjoint(keys[1]) == (other != (one[0], f"setting:{one[1]}"))


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
