"""The programs of the guide on limits do what the guide says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.docs.pages import DOCS, blocks

from castwork import App

PROGRAMS = [block.text for block in blocks(DOCS / "guides" / "limits.md", "python")]


def load(text: str, url: str, namespace: str) -> dict[str, Any]:
    """A program's names; its app is on the server of the tests."""
    defined: dict[str, Any] = {"__name__": "guide"}
    line = 'App("redis://127.0.0.1:6379")'
    assert line in text
    exec(text.replace(line, f'App("{url}", namespace="{namespace}", env=None)'), defined)
    return defined


async def test_two_tasks_of_the_tenant_run_at_once(
    server_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load(PROGRAMS[0], server_url, namespace)
    app: App = program["app"]
    async with app, app.worker():
        await program["main"]()
    assert capsys.readouterr().out.split("\n")[:6] == [f"small: prompt {n}" for n in range(6)]


async def test_tasks_of_a_document_go_in_order(
    server_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load(PROGRAMS[1], server_url, namespace)
    app: App = program["app"]
    async with app, app.worker():
        tasks = [await program["write"].enqueue("a", str(number)) for number in range(5)]
        for task in tasks:
            await task.result(timeout=10)
    assert capsys.readouterr().out == "".join(f"a {number}\n" for number in range(5))
