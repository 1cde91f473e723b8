"""Stream tokens to a reader that goes away in mid-answer and comes back. The model is faked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from castwork import App, current

app = App("embedded://")
app.queue("inference", concurrency=1)  # a worker has one model, which answers one at a time

ANSWER = "Each task goes to one worker, each token keeps its place."


@app.task(queue="inference", attempts=3, timeout=120)
async def infer(prompt: str, model: str = "small") -> AsyncIterator[str]:
    await current().progress(0.0, f"{model} reads {len(prompt)} characters")
    for word in ANSWER.split():
        await asyncio.sleep(0.01)  # the model thinks
        yield word + " "


async def read_some(task_id: str, count: int) -> str:
    """Read a few chunks, as a browser that is reloaded does; return the last one's id."""
    last = ""
    async with contextlib.aclosing(infer.task(task_id).chunks()) as chunks:
        async for chunk in chunks:
            if chunk.kind == "progress":
                print("progress:", chunk.data["message"])
                continue
            print("before the reload:", chunk.id, chunk.data)
            last = chunk.id
            count -= 1
            if count == 0:
                break
    return last


async def main() -> None:
    async with app, app.worker():
        task = await infer.options(priority="high").enqueue("Who gets a task?")
        last = await read_some(task.id, 3)
        rest = [chunk.data async for chunk in infer.task(task.id).chunks(after=last)]
        print("after the reload:", "".join(rest).strip())
        assert await task.result() == ANSWER + " "


asyncio.run(main())
