"""castwork's routes beside your own. Run it with: castwork up examples.fastapi_app"""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel

from castwork import App
from castwork.gateway import gateway_lifespan, gateway_router

app = App("embedded://")


class Prompt(BaseModel):
    text: str


@app.task(queue="inference", timeout=120)
async def infer(prompt: Prompt) -> AsyncIterator[str]:
    for word in prompt.text.split():
        yield word.upper() + " "


# `castwork gateway` and `castwork up` serve the ASGI app that a module calls `api`.
api = FastAPI(title="my backend", lifespan=gateway_lifespan(app))
api.include_router(gateway_router(app), prefix="/castwork")


@api.post("/ask", status_code=202)
async def ask(prompt: Prompt) -> dict[str, str]:
    task = await infer.enqueue(prompt)
    return {"task_id": task.id, "events": f"/castwork/tasks/{task.id}/events"}
