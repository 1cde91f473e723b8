"""Read by type checkers, not run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_type

from castwork import (
    App,
    AtOnce,
    Batch,
    Call,
    Channel,
    Credentials,
    Flow,
    Rate,
    Receipt,
    Setting,
    StreamTask,
    Task,
    TaskStatus,
    all_of,
    current,
)
from castwork.azure import EntraLogin
from castwork.tasks.kinds import CoroutineFunction, PlainFunction, StreamFunction

app = App()


def by_function() -> Credentials:
    return Credentials("user", "password", 1.5)


async def by_coroutine() -> Credentials:
    return Credentials(None, "password")


class Asked(NamedTuple):
    token: str
    expires_on: int


class Asking:
    """Has the method of a credential of azure-identity."""

    def get_token(
        self, *scopes: str, claims: str | None = None, enable_cae: bool = False, **_: Any
    ) -> Asked:
        return Asked(scopes[0], 1)


logged_in = [
    App("redis://a", credentials=by_function),
    App("redis://a", credentials=by_coroutine),
    App("rediss://a", credentials=EntraLogin()),
    App("rediss://a", credentials=EntraLogin(Asking(), username="me")),
]


@dataclass
class Changed:
    name: str


@app.task(queue="inference")
async def infer(prompt: str, model: str = "small") -> int:
    return len(prompt + model)


@app.task
async def bare(prompt: str, *, top: int = 3) -> None: ...


@app.task
async def chat(prompt: str) -> AsyncIterator[str]:
    yield prompt


@app.task(attempts=2)
async def numbers(count: int) -> AsyncIterator[int]:
    yield count


@app.task
def threaded(count: int) -> bytes:
    return bytes(count)


@app.task(timeout=3)
def threaded_too(count: int) -> list[int]:
    return [count]


# A result that holds an Any must not make the parameters any, too.


@app.task
async def loose(prompt: str) -> Any: ...


@app.task(queue="inference")
async def loose_items(prompt: str) -> dict[str, Any]:
    return {prompt: 1}


@app.task
def loose_thread(prompt: str) -> Mapping[str, list[Any]]:
    return {prompt: []}


@app.task
async def loose_stream(prompt: str) -> AsyncIterator[dict[str, Any]]:
    yield {prompt: 1}


changes = app.channel("changes", Changed, history=10)
limit = app.setting("limit", int, default=3)


@changes.subscribe
async def on_change(event: Changed) -> None: ...


@changes.subscribe(group="billing")
async def bill(event: Changed) -> None: ...


def kinds() -> None:
    """Each function is of its kind, whether it was decorated with options or without."""
    _ = assert_type(infer("hi"), Coroutine[Any, Any, int])
    _ = assert_type(bare("hi", top=4), Coroutine[Any, Any, None])
    assert_type(chat("hi"), AsyncIterator[str])
    assert_type(numbers(3), AsyncIterator[int])
    assert_type(threaded(3), bytes)
    assert_type(threaded_too(count=3), list[int])
    coroutine: CoroutineFunction[..., int] = infer.options(delay=3)
    stream: StreamFunction[[str], str, str] = chat.options(key="k")
    plain: PlainFunction[[int], bytes] = threaded.options(priority="low")
    _ = (coroutine, stream, plain)


def any_results() -> None:
    """Functions with loose results keep their kind."""
    _ = assert_type(loose("hi"), Coroutine[Any, Any, Any])
    _ = assert_type(loose_items("hi"), Coroutine[Any, Any, dict[str, Any]])
    assert_type(loose_thread("hi"), Mapping[str, list[Any]])
    assert_type(loose_stream("hi"), AsyncIterator[dict[str, Any]])


@app.remote(queue="gpu")
async def elsewhere(prompt: str) -> bytes:
    raise NotImplementedError


@app.task(keep_result=False)
async def forgotten(prompt: str) -> int:
    return 1


@app.task(result=int)
async def counted(prompt: str) -> AsyncIterator[str]:
    yield prompt
    current().set_result(1)


@app.task(batch=Batch(32, cost=len, max_cost=8192))
async def embedded(texts: list[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


@app.task(batch=Batch())
async def with_errors(texts: list[str]) -> list[int | Exception]:
    return [ValueError() for _ in texts]


@app.resource
async def model() -> AsyncIterator[Pool]:
    yield Pool()


@app.resource(queues=["gpu"])
def table() -> dict[str, int]:
    return {}


class Pool: ...


async def surface() -> None:
    assert_type(model.value, Pool)
    assert_type(table.value, dict[str, int])
    assert_type(await (await forgotten.enqueue("x")).result(), None)
    assert_type(await forgotten("x"), int)
    async for item in (await chat.enqueue("x")).items():
        assert_type(item, str)


async def main() -> None:
    task = await infer.enqueue("hi", model="big")
    assert_type(task, Task[int])
    assert_type(await task.result(timeout=3), int)
    assert_type(await (await bare.enqueue("hi", top=1)).result(), None)
    assert_type(await (await threaded.enqueue(3)).result(), bytes)
    assert_type(await infer.enqueue_many([("a",), ("b", "big")]), list[Task[int]])
    assert_type(infer.enqueue_sync("hi"), Task[int])
    assert_type(infer.enqueue_sync("hi").result_sync(), int)
    assert_type(elsewhere.options(priority="high").call("x"), Call[bytes])
    assert_type(await app.enqueue_many([infer.call("a"), infer.call("b")]), list[Task[int]])
    assert_type(infer.task("an id"), Task[int])
    assert_type(infer.task(id="run-7"), Task[int])


async def streams() -> None:
    task = await chat.enqueue("x")
    assert_type(task, StreamTask[str, str])
    assert_type(chat.enqueue_sync("x"), StreamTask[str, str])
    assert_type(await task.result(), str)
    items = await numbers.enqueue(3)
    assert_type(items, StreamTask[list[int], int])
    assert_type(await items.result(), list[int])
    assert_type(await loose_stream.enqueue("x"), StreamTask[list[dict[str, Any]], dict[str, Any]])
    assert_type(chat.task("an id"), StreamTask[str, str])
    assert_type(await (await embedded.enqueue("x")).result(), list[float])
    assert_type(await embedded(["x"]), list[list[float]])
    assert_type(await (await with_errors.enqueue("x")).result(), int)
    assert_type(await (await counted.enqueue("x")).result(), int)
    assert_type(current().saved(Pool), Pool | None)
    assert_type(await counted.enqueue("x"), StreamTask[int, str])


async def loose_calls() -> None:
    assert_type(await loose_items.enqueue("hi"), Task[dict[str, Any]])
    assert_type(await loose_thread.enqueue(prompt="hi"), Task[Mapping[str, list[Any]]])


async def options() -> None:
    """The options of a call leave its kind, its arguments and its result alone."""
    later = infer.options(priority="high", delay=5, labels={"run": "7"}, owner="eve")
    assert_type(await later.enqueue("hi"), Task[int])
    _ = assert_type(later("hi"), Coroutine[Any, Any, int])
    assert_type(await chat.options(id="run-7").enqueue("x"), StreamTask[str, str])
    assert_type(chat.options(id="run-7")("x"), AsyncIterator[str])
    assert_type(threaded.options(attempts=1)(3), bytes)


async def broadcast() -> None:
    assert_type(changes, Channel[Changed])
    assert_type(await changes.publish(Changed("x")), Receipt)
    assert_type(limit, Setting[int])
    assert_type(limit.value, int)


def tariff(tenant: str) -> int:
    return len(tenant)


def by_host(call: Call[Any]) -> str:
    return str(call.arguments["url"])


limited_queue = app.queue("limited", limits=[Rate(tariff, per=60, by="tenant"), AtOnce(4)])


@app.task(
    queue=limited_queue,
    limits=[Rate(60, per=60, by="model"), AtOnce(4, by="tenant"), Rate(5, per=1, by=by_host)],
    serial_by="doc",
)
async def limited(url: str, model: str = "small", doc: str = "") -> str:
    return url


@app.remote(queue=limited_queue, serial_by=by_host, batch=True)
async def limited_elsewhere(items: list[int]) -> list[str]:
    raise NotImplementedError


async def call_limited() -> None:
    assert_type(await limited.enqueue("http://a"), Task[str])
    assert_type(await limited_elsewhere.enqueue(1), Task[str])


@dataclass
class Page:
    text: str


@app.task(run_in="process")
def split(document: str) -> list[Page]:
    return [Page(document)]


@app.task
async def vector_of(page: Page, model: str) -> list[float]:
    return [float(len(page.text + model))]


@app.task
async def index(vectors: list[list[float] | None], name: str) -> int:
    return len(vectors + [None for _ in name])


@app.task
async def tell(status: TaskStatus, name: str) -> str:
    return f"{status.task_id} {name}"


@app.task
async def merge(both: tuple[list[Page], list[float]]) -> str:
    return f"{both}"


async def flows() -> None:
    each = split.call("a").then_each(vector_of, "small")
    assert_type(await each.enqueue(), Task[list[list[float]]])
    flow = each.keep_going().then(index, "a")
    assert_type(flow, Flow[int])
    assert_type(flow.on_failure(tell, "a"), Flow[int | str])
    assert_type(flow.on_failure(tell, "a").enqueue_sync(), Task[int | str])
    both = all_of(split.call("a"), vector_of.call(Page("x"), "small"))
    assert_type(await (await both.enqueue()).result(), tuple[list[Page], list[float]])
    assert_type(both.then(merge), Flow[str])
    listed = all_of(vector_of.call(Page("x"), "small") for _ in range(3))
    assert_type(await listed.enqueue(), Task[list[list[float]]])
