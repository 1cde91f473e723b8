"""Tasks with an id or a key of the caller's: one task, however many enqueue it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from castwork import App, AppSettings, TaskFunction, current
from castwork.model.call_options import CallOptions
from castwork.model.errors import DefinitionError

Work = TaskFunction[[int], int]


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def work(app: App, runs: list[str]) -> Work:
    @app.task(queue="q")
    async def work(number: int) -> int:
        runs.append(current().task_id)
        return number

    return work


@pytest.fixture
async def others(server_url: str, namespace: str) -> AsyncIterator[list[Work]]:
    """The function in four more processes."""
    apps = [App(server_url, settings=AppSettings(namespace=namespace)) for _ in range(4)]

    def declare(app: App) -> Work:
        @app.task(queue="q")
        async def work(number: int) -> int:
            raise AssertionError("no worker of these apps runs")

        return work

    yield [declare(app) for app in apps]
    for app in apps:
        await app.close()


ONCE = [
    CallOptions(id="run-7"),
    CallOptions(key="run-7", key_taken="join"),
    CallOptions(id="run-7", key="k"),
]


@pytest.mark.parametrize("options", ONCE)
@pytest.mark.parametrize("delay", [0.0, 0.01])
async def test_fifty_who_enqueue_the_same_make_one_run(
    app: App, work: Work, others: list[Work], runs: list[str], options: CallOptions, delay: float
) -> None:
    functions = [work, *others] * 10
    async with app, app.worker(scheduler_interval=0.02):
        made = await asyncio.gather(
            *(f.options(**options, delay=delay).enqueue(n) for n, f in enumerate(functions))
        )
        assert len({task.id for task in made}) == 1
        [first] = [number for number, task in enumerate(made) if task.created]
        assert await asyncio.gather(*(task.result(timeout=10) for task in made)) == [first] * 50
    assert runs == [made[0].id]


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "ended"])
@pytest.mark.parametrize("options", ONCE)
async def test_second_enqueue_finds_the_task_in_every_state(
    app: App, options: CallOptions, state: str
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @app.task(queue="q")
    async def hold(number: int) -> int:
        began.set()
        await go.wait()
        return number

    function = hold.options(**options)
    async with app:
        first = await function.options(delay=60.0 if state == "scheduled" else 0.0).enqueue(1)
        assert first.created
        if state in ("scheduled", "queued"):
            second = await function.enqueue(2)
            assert (await second.status()).status == state
        else:
            async with app.worker():
                await asyncio.wait_for(began.wait(), 10)
                if state == "ended":
                    go.set()
                    await first.result(timeout=10)
                second = await function.enqueue(2)
                go.set()
                assert await second.result(timeout=10) == 1
        assert (second.id, second.created) == (first.id, False)


async def test_id_of_the_caller_is_part_of_the_task_id(app: App, work: Work) -> None:
    async with app, app.worker():
        task = await work.options(id="run-7").enqueue(3)
        assert task.id == "q:run-7"
        assert await work.task(id="run-7").result(timeout=10) == 3
        assert await app.get_task("q:run-7").result(timeout=10) == 3


async def test_id_and_key_of_one_call_both_find_the_task(app: App, work: Work) -> None:
    async with app:
        first = await work.options(id="a", key="k").enqueue(1)
        by_id = await work.options(id="a").enqueue(2)
        by_key = await work.options(key="k", key_taken="join").enqueue(3)
        other = await work.options(id="b").enqueue(4)
        assert (first.id, by_id.id, by_key.id, other.id) == ("q:a", "q:a", "q:a", "q:b")
        assert [t.created for t in (first, by_id, by_key, other)] == [True, False, False, True]


async def test_ids_of_two_tenants_are_one_and_their_keys_are_not(app: App, work: Work) -> None:
    @app.task(queue="q")
    async def other(number: int) -> int:
        return number

    async with app:
        a = await work.options(key="order", tenant="a").enqueue(1)
        b = await work.options(key="order", tenant="b").enqueue(2)
        nobody = await work.options(key="order").enqueue(3)
        function = await other.options(key="order", tenant="a").enqueue(4)
        assert len({a.id, b.id, nobody.id, function.id}) == 4
        assert (await work.options(key="order", tenant="a").enqueue(1)).id == a.id
        assert (await work.options(id="x", tenant="a").enqueue(6)).created
        assert not (await work.options(id="x", tenant="b").enqueue(7)).created


async def test_keys_cannot_be_made_to_look_like_those_of_others(app: App, work: Work) -> None:
    pairs = [("a", "b:c"), ("a:b", "c"), ("1:a", "1"), ("", "1:a"), ("a1:b", "c"), ("a", "1:bc")]
    async with app:
        made = [await work.options(tenant=t, key=k).enqueue(0) for t, k in pairs]
    assert all(task.created for task in made)
    assert len({task.id for task in made}) == len(pairs)


@pytest.mark.parametrize("options", [{"key": "k"}, {"id": "mine"}], ids=["key", "id"])
async def test_several_calls_with_one_id_or_key_are_refused(
    app: App, work: Work, options: dict[str, str]
) -> None:
    async with app:
        with pytest.raises(DefinitionError, match="one id or key"):
            await work.options(**options).enqueue_many(range(3))  # type: ignore[arg-type]
        assert (await app.queues())[0].depth == 0
        [task] = await work.options(**options).enqueue_many([1])  # type: ignore[arg-type]
        assert task.created


@pytest.mark.parametrize(
    "text", ["", "a b", "a:b", "ü", "x" * 129, "q-1K8AM2RQI000003N009OEVNDG6K9ABAM", "a\n"]
)
async def test_text_that_is_no_id_is_refused(app: App, work: Work, text: str) -> None:
    with pytest.raises(DefinitionError):
        await work.options(id=text).enqueue(1)
    if text:
        with pytest.raises(DefinitionError):
            work.task(id=text)


def test_an_empty_key_is_refused(work: Work) -> None:
    with pytest.raises(DefinitionError, match="empty"):
        work.options(key="")
