"""Read by mypy, not run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import assert_type

from castwork import App, Channel, Receipt, Setting, Task

app = App()


@dataclass
class Changed:
    name: str


@app.task(queue="inference")
async def infer(prompt: str, model: str = "small") -> int:
    return len(prompt + model)


@app.task
async def chat(prompt: str) -> AsyncIterator[str]:
    yield prompt


@app.task(attempts=2)
async def numbers(count: int) -> AsyncIterator[int]:
    yield count


@app.task
def threaded(count: int) -> bytes:
    return bytes(count)


changes = app.channel("changes", Changed, history=10)
limit = app.setting("limit", int, default=3)


@changes.subscribe
async def on_change(event: Changed) -> None: ...


@changes.subscribe(group="billing")
async def bill(event: Changed) -> None: ...


async def main() -> None:
    task = await infer.enqueue("hi", model="big")
    assert_type(task, Task[int])
    assert_type(await task.result(timeout=3), int)
    assert_type(await (await chat.enqueue("x")).result(), str)
    assert_type(await (await numbers.enqueue(3)).result(), list[int])
    assert_type(await (await threaded.enqueue(3)).result(), bytes)
    assert_type(await infer.options(priority="high", delay=5).enqueue("hi"), Task[int])
    assert_type(await infer.enqueue_many([("a",), ("b", "big")]), list[Task[int]])
    assert_type(infer.enqueue_sync("hi"), str)
    assert_type(changes, Channel[Changed])
    assert_type(await changes.publish(Changed("x")), Receipt)
    assert_type(limit, Setting[int])
    assert_type(limit.value, int)
