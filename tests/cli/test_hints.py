"""What `castwork up` suggests to try: a call that works, or none."""

from __future__ import annotations

import json
import shlex
from types import ModuleType
from typing import Literal

from fastapi import FastAPI

from castwork import App
from castwork.cli.supervise.hints import find_hints
from castwork.gateway import create_gateway, gateway_router


def make_app() -> App:
    """An app whose first task function takes what no example is made of."""
    app = App("redis://h:1")

    @app.task
    async def paint(colour: Literal["red", "blue"]) -> None: ...

    @app.task
    async def infer(prompt: str, count: int, deep: bool = False) -> str:
        return prompt * count

    return app


def make_module(api: FastAPI) -> ModuleType:
    """A module of a user's with an ASGI app of its own."""
    module = ModuleType("mine")
    module.__dict__["api"] = api
    return module


def test_without_hints_a_call_that_fits_is_suggested() -> None:
    app = make_app()
    call, events, page = find_hints(ModuleType("mine"), app, "http://g:1")
    assert call.startswith("curl -s http://g:1/tasks/infer ")
    body = shlex.split(call)[-1]
    assert app.tasks.get("infer").signature.decode(body.encode())
    assert json.loads(body).keys() == {"prompt", "count"}
    assert events == "curl -N http://g:1/tasks/TASK_ID/events"
    assert page == "open http://g:1/docs"


def test_the_path_of_a_call_is_the_one_of_the_users_routes() -> None:
    app = make_app()
    api = FastAPI(docs_url="/pages")
    api.include_router(gateway_router(app), prefix="/castwork")
    call, events, page = find_hints(make_module(api), app, "http://g:1")
    assert call.startswith("curl -s http://g:1/castwork/tasks/infer ")
    assert events == "curl -N http://g:1/castwork/tasks/TASK_ID/events"
    assert page == "open http://g:1/pages"


def test_a_mounted_gateway_is_found() -> None:
    app = make_app()
    api = FastAPI(docs_url=None)
    api.mount("/inner", create_gateway(app))
    call, _, page = find_hints(make_module(api), app, "http://g:1")
    assert call.startswith("curl -s http://g:1/inner/tasks/infer ")
    assert page == "open http://g:1"


def test_without_routes_of_tasks_no_call_is_suggested() -> None:
    api = FastAPI()

    @api.post("/tasks", name="enqueue")
    async def other() -> None: ...

    assert find_hints(make_module(api), make_app(), "http://g:1") == ["open http://g:1/docs"]


def test_a_call_that_would_be_refused_is_not_suggested() -> None:
    app = App("redis://h:1")

    @app.task
    async def paint(colour: Literal["red", "blue"]) -> None: ...

    assert find_hints(ModuleType("mine"), app, "http://g:1") == ["open http://g:1/docs"]
