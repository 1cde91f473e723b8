"""Retries with backoff, a task that refuses its work, and a dead letter that is replayed."""

import asyncio

from castwork import App, Backoff, Discard, current
from castwork.model.errors import TaskDead, TaskFailed

app = App("embedded://")
service = {"up": False}


@app.task(attempts=3, backoff=Backoff(base=0.05, longest=0.2))
async def fetch(url: str) -> str:
    if not url.startswith("https://"):
        raise Discard("not an address")  # failed at once: another attempt would not help
    if not service["up"]:
        raise ConnectionError("the service is down")
    return f"fetched {url} in attempt {current().attempt}"


async def main() -> None:
    async with app, app.worker():
        task = await fetch.enqueue("https://example.org")
        try:
            await task.result()
        except TaskDead as error:
            print(f"dead after {error.attempts} attempts: {error.error_type}: {error.message}")

        refused = await fetch.enqueue("example.org")
        try:
            await refused.result()
        except TaskFailed as error:
            print(f"failed: {error.message}")

        service["up"] = True
        [letters] = app.dead_letters()  # one list per queue
        for letter in await letters.list():
            print("replaying a task that failed", letter.attempts, "times")
            await letters.replay(letter.id)
        print(await task.result())


asyncio.run(main())
