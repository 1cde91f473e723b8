"""Finds what a command names: the user's App ("module:attribute"), and its channels."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.cli.failure import MISUSED, Failure


def load_app(name: str | None, redis: str | None = None) -> App:
    """Import the App that a command is about.

    Args:
        name: `module:attribute`, or `module` for its attribute `app`. The current folder is
            searched first.
        redis: URL of the server to use instead of the App's own, for this process.

    Raises:
        Failure: there is no such module, attribute or App.
    """
    if not name:
        raise Failure("which App? say --app MODULE[:APP], or set CASTWORK_APP", code=MISUSED)
    module, attribute = load_module(name), split_name(name)[1]
    found = getattr(module, attribute, None)
    if found is None:
        raise Failure(
            f"module {module.__name__!r} has no {attribute!r}: name the App as"
            f" {module.__name__}:NAME",
            code=MISUSED,
        )
    if not isinstance(found, App):
        raise Failure(f"{name} is no castwork App but a {type(found).__name__}", code=MISUSED)
    if redis:
        found.server_url.override = redis
    return found


def load_module(name: str) -> ModuleType:
    """Import the module in "module:attribute".

    Raises:
        Failure: there is no such module, or importing it raises.
    """
    module = split_name(name)[0]
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Another case is a module that is there, and imports what is not installed.
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            wanted = f"; say {module.removesuffix('.py')}" if module.endswith(".py") else ""
            raise Failure(
                f"no module named {module!r} in {folder} or among the installed packages{wanted}",
                code=MISUSED,
            ) from None
        raise Failure(f"module {module!r} needs {error.name!r}: {error}", code=MISUSED) from None
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise Failure(
            f"module {module!r} cannot be imported: {type(error).__name__}: {error}"
            f" ({frame.filename}:{frame.lineno})",
            code=MISUSED,
        ) from error


def split_name(name: str) -> tuple[str, str]:
    """Split "module:attribute" in two; the attribute is `app` by default.

    Raises:
        Failure: the name is not of that form.
    """
    module, _, attribute = name.partition(":")
    attribute = attribute or "app"
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise Failure(f"not a module: {name!r}; it looks like my_backend:app", code=MISUSED)
    return module, attribute


def find_own_api(module: ModuleType) -> Any:
    """The ASGI app that a module calls `api`; None if there is none."""
    api = getattr(module, "api", None)
    return api if is_asgi(api) else None


def is_asgi(api: object) -> bool:
    """Whether something is an ASGI app: awaitable when called with scope, receive and send."""
    if isinstance(api, type) or not callable(api):
        return False
    call = api if inspect.isroutine(api) else type(api).__call__
    parameters = inspect.signature(call).parameters.values()
    wanted = 3 if call is api else 4
    return inspect.iscoroutinefunction(call) and len(parameters) == wanted


def find_channel(app: App, name: str) -> Channel[Any]:
    """Find a channel of an App.

    Raises:
        Failure: there is none of that name.
    """
    try:
        return app.channels[name]
    except KeyError:
        known = ", ".join(sorted(app.channels)) or "none"
        raise Failure(f"no channel {name!r}; there are: {known}", code=MISUSED) from None
