"""Settings: one value in all processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import redis
from tests.eventually import eventually

from castwork.channels.event import EventCodec
from castwork.channels.setting import Setting
from castwork.model.errors import InvalidArguments
from castwork.redis.connections import Connections
from castwork.store.keys import ChannelKeys

Declare = Callable[[], Setting[int]]


@pytest.fixture
async def setting(processes: Callable[[], Connections], namespace: str) -> AsyncIterator[Declare]:
    """Declares the setting in one more process."""
    made: list[Setting[int]] = []

    def make() -> Setting[int]:
        codec: EventCodec[int] = EventCodec("limit", int, 1000)
        made.append(Setting("limit", codec, processes(), namespace, 7))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


async def test_a_value_reaches_every_process(setting: Declare) -> None:
    one, two = setting(), setting()
    await one.start()
    await two.start()
    assert (one.value, two.value) == (7, 7)

    applied = await (await one.set(8)).applied(timeout=10)

    assert len(applied.applied) == 2
    assert (one.value, two.value) == (8, 8)


async def test_who_starts_late_has_the_value_at_once(setting: Declare) -> None:
    for value in range(20):
        await setting().set(value)
    late = setting()
    await late.start()

    assert late.value == 19


async def test_a_value_of_another_type_is_refused_here_and_passed_over_there(
    setting: Declare, plain: redis.Redis, namespace: str
) -> None:
    one = setting()
    await one.start()
    with pytest.raises(InvalidArguments):
        await one.set("many")  # type: ignore[arg-type]

    history = ChannelKeys.of_setting(namespace, "limit").history
    plain.xadd(history, {"uid": "x", "event": '"many"', "previous": "0-0"})
    late = setting()
    await late.start()
    assert late.value == 7

    await late.set(9)
    await eventually(lambda: one.value == 9)


async def test_an_entry_that_is_not_ours_leaves_the_default(
    setting: Declare, plain: redis.Redis, namespace: str
) -> None:
    plain.xadd(ChannelKeys.of_setting(namespace, "limit").history, {"hello": "world"})
    late = setting()
    await late.start()
    assert late.value == 7

    await late.set(8)
    await eventually(lambda: late.value == 8)


async def test_the_last_value_stays_when_it_is_followed_no_more(setting: Declare) -> None:
    one, two = setting(), setting()
    await one.start()
    await (await two.set(8)).applied(timeout=10)
    await one.stop()
    await two.set(9)

    assert one.value == 8
    await one.start()
    assert one.value == 9
