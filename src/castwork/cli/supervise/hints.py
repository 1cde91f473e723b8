"""What `castwork up` suggests to try, by the routes that are really there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from castwork.app import App
from castwork.cli.loading import find_own_api
from castwork.model.errors import InvalidArguments
from castwork.model.signature import Signature

_SAMPLES: Mapping[str, Any] = {
    "string": "hello",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
}


def find_hints(module: ModuleType, app: App, url: str) -> list[str]:
    """What to try: the module's own `castwork_hints`, else a call of a task function.

    The hints are a text or a list of texts; `{url}` in them is the gateway's address. A call is of
    the first task function for which arguments can be made up, where its route can be found.
    """
    given = getattr(module, "castwork_hints", None)
    if given:
        texts = [given] if isinstance(given, str) else list(given)
        return [_fill(str(text), url) for text in texts]
    api = find_own_api(module)
    page = "/docs" if api is None else getattr(api, "docs_url", None)
    return [*_calls(app, api, url), f"open {url}{page or ''}"]


def _fill(text: str, url: str) -> str:
    try:
        return text.format(url=url)
    except (LookupError, ValueError):  # the text has braces that stand for themselves
        return text.replace("{url}", url)


def _calls(app: App, api: Any, url: str) -> list[str]:
    for function in app.tasks:
        body, path = _sample(function.signature), _path_of(api, function.name)
        if body is not None and path is not None:
            return [
                f"curl -s {url}{path} -H 'content-type: application/json' -d {shlex.quote(body)}",
                f"curl -N {url}{path.removesuffix(function.name)}TASK_ID/events",
            ]
    return []


def _path_of(api: Any, name: str) -> str | None:
    """The path under which a task function is called; None where it cannot be told.

    Args:
        api: the user's own ASGI app; None for castwork's gateway.
        name: the task function.
    """
    if api is None:
        return f"/tasks/{name}"
    find = getattr(api, "url_path_for", None)
    if find is None:  # made with another library than Starlette
        return None
    try:
        path = str(find("enqueue", task_name=name))
    except Exception:  # there is no such route; whatever else it may be, a hint is not worth an end
        return None
    return path if path.endswith(f"/tasks/{name}") else None


def _sample(signature: Signature) -> str | None:
    """Arguments for the parameters without a default, as JSON; None where they do not fit."""
    schema = signature.json_schema()
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    properties = schema.get("properties", {})
    body = json.dumps(
        {
            name: _SAMPLES.get(properties[name].get("type", ""), "hello")
            for name in schema.get("required", ())
        }
    )
    try:
        signature.decode(body.encode())
    except InvalidArguments:
        return None
    return body
