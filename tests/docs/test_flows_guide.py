"""The program of the guide on flows does what the guide says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.docs.pages import DOCS, blocks

from castwork import App


async def test_the_flows_end_as_the_guide_says(
    server_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = blocks(DOCS / "guides" / "flows.md", "python")
    line = 'App("redis://127.0.0.1:6379")'
    assert line in block.text
    program: dict[str, Any] = {"__name__": "guide"}
    own = f'App("{server_url}", namespace="{namespace}", env=None)'
    exec(block.text.replace(line, own), program)
    app: App = program["app"]
    async with app, app.worker():
        await program["main"]()
    told = capsys.readouterr().out.splitlines()
    printed = [line.partition("  # ")[2] for line in block.text.splitlines() if "print(" in line]
    assert told == printed
