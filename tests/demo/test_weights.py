"""A process's copy of the model: loaded once, loaded anew for a new version, never for nothing."""

from __future__ import annotations

import asyncio

import pytest

from castwork.demo import weights
from castwork.demo.weights import Weights


class FakeModel:
    """Counts how often it is loaded."""

    loaded = 0

    def __init__(self) -> None:
        type(self).loaded += 1


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    class Fresh(FakeModel):
        pass

    monkeypatch.setattr(weights, "SmallModel", Fresh)
    return Fresh


async def both(held: Weights) -> tuple[object, object]:
    first, second = await asyncio.gather(held.get(), held.get())
    return first, second


def test_the_model_is_loaded_once(fake: type[FakeModel]) -> None:
    first, second = asyncio.run(both(Weights()))
    assert first is second
    assert fake.loaded == 1


def test_a_process_that_has_no_copy_only_notes_the_version(fake: type[FakeModel]) -> None:
    held = Weights()
    asyncio.run(held.update("small", "2"))
    assert held.versions == {"small": "2"}
    assert fake.loaded == 0


def test_a_new_version_replaces_the_copy(fake: type[FakeModel]) -> None:
    async def main() -> tuple[object, object]:
        held = Weights()
        old = await held.get()
        await held.update("small", "2")
        return old, await held.get()

    old, new = asyncio.run(main())
    assert old is not new
    assert fake.loaded == 2


def test_a_version_that_comes_while_the_model_loads_is_not_missed(fake: type[FakeModel]) -> None:
    async def main() -> tuple[object, object]:
        held = Weights()
        loading = asyncio.create_task(held.get())
        await asyncio.sleep(0)
        await held.update("small", "2")
        return await loading, await held.get()

    old, new = asyncio.run(main())
    assert old is not new
