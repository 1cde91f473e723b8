"""The reference names what exists, all of it, with the right defaults."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

import msgspec
import pytest
import typer
from tests.docs.pages import DOCS, codes, prose, rows, sections

import castwork
from castwork import App, Backoff
from castwork.cli.program import cli
from castwork.gateway import create_gateway
from castwork.gateway.errors import _TABLE
from castwork.gateway.messages import VERBS
from castwork.gateway.metrics import Snapshot, write_metrics
from castwork.model import (
    call_options,
    errors,
    queue,
    settings,
    signals,
    task_options,
    worker_options,
)
from castwork.store.look import QueueInfo

REFERENCE = DOCS / "reference"


def _settings(*modules: ModuleType) -> dict[str, Any]:
    """The settings structs of some modules, by name."""
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if inspect.isclass(kind)
        and issubclass(kind, msgspec.Struct)
        and name.endswith(("Settings", "Limits", "Backoff"))
    }


SETTINGS = _settings(settings, queue, task_options, call_options, worker_options)


def test_every_settings_class_has_its_section() -> None:
    documented = set(sections(REFERENCE / "settings.md")) - {"Settings", "Environment"}
    assert documented == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_and_defaults_are_documented(name: str) -> None:
    table = {row[0].strip("`"): row[1] for row in rows(sections(REFERENCE / "settings.md")[name])}
    fields = msgspec.structs.fields(SETTINGS[name])
    assert list(table) == [field.name for field in fields]
    for field in fields:
        if field.default_factory is not msgspec.NODEFAULT:
            assert codes(table[field.name]) == [f"{field.default_factory.__name__}()"]
        elif field.default is not msgspec.NODEFAULT:
            [shown] = codes(table[field.name])
            assert eval(shown, {"Backoff": Backoff}) == field.default, field.name


def test_every_error_is_documented_under_its_base() -> None:
    tables = sections(REFERENCE / "errors.md")["Errors"]
    shown = {codes(row[0])[0]: row[1] if len(row) == 3 else "" for row in rows(tables)}
    kinds = {
        name: kind
        for module in (errors, signals)
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    }
    assert set(shown) == set(kinds)
    for name, base in shown.items():
        for one in codes(base):
            parent = kinds.get(one) or getattr(__import__("builtins"), one)
            assert parent in kinds[name].__bases__, name


def test_every_route_is_documented() -> None:
    paths = create_gateway(App("redis://127.0.0.1:1")).openapi()["paths"]
    real = {f"{verb.upper()} {path}" for path, verbs in paths.items() for verb in verbs}
    text = prose(REFERENCE / "http.md")
    shown = {
        code
        for row in rows(text)
        for code in codes(row[0])
        if re.match(r"(GET|POST|DELETE) /", code)
    }
    assert shown == real


def test_every_verb_of_the_socket_is_documented() -> None:
    sent = [codes(row[0])[0] for row in rows(sections(REFERENCE / "http.md")["Socket"])]
    assert [re.findall(r"\w+", one)[0] for one in sent] == list(VERBS)


def test_every_error_over_http_is_documented() -> None:
    shown = {
        (int(row[0]), name)
        for row in rows(sections(REFERENCE / "http.md")["Errors"])
        for name in codes(row[1])
        if "-" not in name
    }
    assert shown == set(_TABLE.values())


def test_every_command_and_option_is_documented() -> None:
    text = prose(REFERENCE / "cli.md")
    shown = {}
    for row in rows(text):
        if row[0].startswith("`castwork "):
            words = re.findall(r"^[a-z ]+", codes(row[0])[0].removeprefix("castwork "))[0].split()
            shown[" ".join(words)] = sorted(codes(row[2]))
    assert shown == dict(_commands(typer.main.get_command(cli), ()))


def _commands(command: Any, path: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    inner = getattr(command, "commands", None)
    if inner is not None:
        return [one for name, sub in inner.items() for one in _commands(sub, (*path, name))]
    options = [
        parameter.opts[0]
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False)
    ]
    return [(" ".join(path), sorted(option for option in options if option != "--help"))]


def test_every_metric_is_documented() -> None:
    queue = QueueInfo("q", {"high": 0}, 0, 0, 0, 0)
    worker = {"id": "w", "load": 0, "capacity": 1, "processed": {"succeeded": 1}, "lost": False}
    text = write_metrics(Snapshot([queue], [worker], 0)).decode()
    samples = dict(re.findall(r"^(castwork_\w+)(?:\{(.*)\})? ", text, re.M))
    table = rows(sections(DOCS / "operations" / "monitoring.md")["Metrics"])
    shown = {codes(row[0])[0]: sorted(codes(row[1])) for row in table}
    assert shown == {
        name: sorted(re.findall(r"(\w+)=", labels)) for name, labels in samples.items()
    }


def _shown() -> list[str]:
    """What the pages of the Python API are made from."""
    pages = "".join(page.read_text() for page in (REFERENCE / "api").glob("*.md"))
    return re.findall(r"^::: (\S+)$", pages, re.M)


@pytest.mark.parametrize("path", _shown())
def test_what_the_reference_shows_is_where_it_says(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(module), name)


def test_every_public_name_is_in_the_reference() -> None:
    shown = {path.rsplit(".", 1)[-1] for path in _shown()}
    raised = {name for name in castwork.__all__ if name in vars(errors)}
    elsewhere = set(SETTINGS) | raised  # on the pages on settings and errors
    assert set(castwork.__all__) - elsewhere <= shown
