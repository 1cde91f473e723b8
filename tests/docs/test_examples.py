"""Each example runs as it is, and prints what it is there to show."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import ModuleType

import httpx
import pytest
from tests.docs.pages import EXAMPLES

from castwork import App

PRINTED = {
    "hello": ["chunk: one", "chunk: verbs", "{'told': 'one Redis, two verbs '}"],
    "llm_tokens": [
        "progress: small reads 16 characters",
        "before the reload: 1-4 goes",
        "after the reload: to one worker, each token keeps its place.",
    ],
    "broadcast_settings": [
        "temperature: 0.7",
        "temperature: 0.2 everywhere: True",
        "loaded: {'bert': 2} by 1 process, failed: {}",
        "billed: bert",
    ],
    "adopt_stream": [
        "small at 0.2 answers 'hi'",
        "big at 0.7 answers 'hello'",
        "left in the stream: 0",
    ],
    "retry_dead": [
        "dead after 3 attempts: ConnectionError: the service is down",
        "failed: not an address",
        "replaying a task that failed 3 times",
        "fetched https://example.org in attempt 4",
    ],
}


def test_every_example_is_tried_and_short() -> None:
    files = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert set(files) == {*PRINTED, "fastapi_app"}
    assert all(path.read_text().count("\n") <= 60 for path in files.values())


@pytest.mark.parametrize("name", PRINTED)
def test_example_prints(name: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CASTWORK_URL"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=45,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line.rstrip() for line in ran.stdout.splitlines()]
    positions = [lines.index(line) for line in PRINTED[name]]
    assert positions == sorted(positions)


async def test_fastapi_app_answers_and_streams(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTWORK_URL", server_url)
    module = _load("fastapi_app")
    app: App = module.app
    transport = httpx.ASGITransport(app=module.api)
    async with (
        app,
        app.worker(),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        answer = await client.post("/ask", json={"text": "two verbs"})
        assert answer.status_code == 202
        # The transport hands a response over when it is whole: the stream ends with the result.
        events = await client.get(answer.json()["events"], timeout=20)
        assert 'id: 1-1\nevent: chunk\ndata: "TWO "\n' in events.text
        assert '"result":"TWO VERBS "' in events.text
        refused = await client.post("/castwork/tasks/infer", json={"prompt": {"words": 1}})
        assert (refused.status_code, refused.json()["field"]) == (422, "prompt")


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
