"""What `castwork up` says once everything runs: what runs where, and what to try next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from castwork.app import App
from castwork.tasks.function import TaskFunction

_SAMPLES: Mapping[str, Any] = {
    "string": "hello",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
}


@dataclass(slots=True)
class Banner:
    """The start-up message.

    Attributes:
        module: what was started, as the user named it.
        rows: per process its name and where it is.
        times: seconds after which each part was ready.
        hints: what to try next.
        url: the server's URL, for other terminals; a URL with a login is not shown.
    """

    module: str
    url: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    hints: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The message, line by line."""
        width = max(len(name) for name, _ in self.rows) + 2
        total = max(self.times.values())
        times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.times.items())
        exports = {"CASTWORK_APP": self.module}
        if "@" not in self.url:  # a login does not belong into a log
            exports["CASTWORK_URL"] = self.url
        export = " ".join(f"{name}={shlex.quote(value)}" for name, value in exports.items())
        hints = [line for hint in self.hints for line in hint.rstrip().splitlines()]
        return [
            "",
            f"castwork runs {self.module}: ready after {total:.1f} s ({times})",
            "",
            *(f"  {name:<{width}}{text}" for name, text in self.rows),
            "",
            "Try next",
            *(f"  {line}" for line in hints),
            "",
            "From another terminal",
            f"  export {export}",
            "  castwork top            # or: status, doctor, enqueue, dead list",
            "",
            "Ctrl-C lets running tasks finish and ends everything.",
            "",
        ]


def find_hints(module: ModuleType, app: App, url: str) -> list[str]:
    """What to try: the module's own `castwork_hints`, else a call of its first task function.

    The hints are a text or a list of texts; `{url}` in them is the gateway's address.
    """
    given = getattr(module, "castwork_hints", None)
    if given:
        texts = [given] if isinstance(given, str) else list(given)
        return [_fill(str(text), url) for text in texts]
    for function in app.tasks:
        return [*_calls(function, url), f"open {url}/docs"]
    return [f"open {url}/docs"]


def _fill(text: str, url: str) -> str:
    try:
        return text.format(url=url)
    except (LookupError, ValueError):  # the text has braces that stand for themselves
        return text.replace("{url}", url)


def _calls(function: TaskFunction[Any, Any], url: str) -> list[str]:
    body = json.dumps(_sample(function.signature.json_schema()))
    return [
        f"curl -s {url}/tasks/{function.name} -H 'content-type: application/json'"
        f" -d {shlex.quote(body)}",
        f"curl -N {url}/tasks/TASK_ID/events",
    ]


def _sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the parameters without a default, which fit where types are simple."""
    definition = schema
    if "$ref" in schema:
        definition = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    properties = definition.get("properties", {})
    return {
        name: _SAMPLES.get(properties[name].get("type", ""), "hello")
        for name in definition.get("required", ())
    }
