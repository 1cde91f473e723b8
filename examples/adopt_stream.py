"""Take over a stream that plain redis-py producers write, and leave the producers as they are."""

import asyncio

import redis.asyncio

from castwork import App

app = App("embedded://")
STREAM, GROUP = "ai:inference:queue", "inference-workers"


@app.task(stream=STREAM, group=GROUP, attempts=3)
async def infer(prompt: str, model: str = "small", temperature: float = 0.7) -> str:
    return f"{model} at {temperature} answers {prompt!r}"


async def main() -> None:
    async with app:
        producer = redis.asyncio.Redis.from_url(app.server_url.find())
        # No worker runs yet: entries wait, also those from before castwork came.
        fields = {"prompt": "hi", "temperature": "0.2", "user_id": "u1"}
        entry_id = (await producer.xadd(STREAM, fields)).decode()
        async with app.worker():
            # Stream, group and entry name the task; fields that are no parameters are left out.
            task = infer.task(f"{STREAM}:{GROUP}:{entry_id}")
            print(await task.result(timeout=10))
            # The same function can be enqueued, too.
            task = await infer.enqueue("hello", model="big")
            print(await task.result(timeout=10))
        print("left in the stream:", await producer.xlen(STREAM))
        await producer.aclose()


asyncio.run(main())
