"""Groups of a channel: whose handlers they have, and by which names workers serve them."""

from __future__ import annotations

from typing import Any

import pytest

from castwork import App
from castwork.model.errors import DefinitionError


async def handle(event: int) -> None: ...


async def handle_otherwise(event: int) -> None: ...


def test_a_group_has_one_handler() -> None:
    app = App()
    news = app.channel("news", int, history=10)
    news.subscribe(group="billing")(handle)
    with pytest.raises(DefinitionError, match="group 'billing' has a handler"):
        news.subscribe(group="billing")(handle_otherwise)
    news.subscribe(group="shipping")(handle_otherwise)

    assert [group.handler for group in news.groups] == [handle, handle_otherwise]


def test_a_handler_that_is_declared_again_replaces_what_it_was() -> None:
    app = App()
    news = app.channel("news", int, history=10)
    news.subscribe(group="billing", attempts=2)(handle)
    [before] = app.served()
    cell: dict[str, Any] = {"__name__": handle.__module__}
    exec("async def handle(event): ...", cell)  # as a notebook runs its cell again
    news.subscribe(group="billing", attempts=3)(cell["handle"])

    assert [(group.handler, group.attempts) for group in news.groups] == [(cell["handle"], 3)]
    [store] = app.served()
    assert store is not before
    assert app.served() == [store], "made once"


def test_channels_and_groups_with_colons_are_all_served() -> None:
    app = App()
    for channel, group in (("a", "b:c"), ("a:b", "c")):
        app.channel(channel, int, history=10).subscribe(group=group)(handle)

    assert sorted(store.queue.name for store in app.served()) == ["a:b:c", "a:b~3Ac"]
