"""Scripts: what a file says of itself, and what happens when the server has forgotten one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.store.box import Box

from castwork.store import scripts
from castwork.store.scripts import Script

FOLDER = Path(scripts.__file__).parent / "lua"
LOADED = {one.name: one for one in vars(scripts).values() if isinstance(one, Script)}
PRELUDES = sorted(file.stem for file in (FOLDER / "lib").iterdir())


def text(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def uses(source: str) -> list[str]:
    found = re.search(r"^-- USES (.+)$", source, re.MULTILINE)
    return found[1].split() if found else []


def sources() -> Iterator[str]:
    yield from LOADED
    yield from (f"lib/{name}" for name in PRELUDES)


def test_every_file_is_a_loaded_script() -> None:
    assert {file.stem for file in FOLDER.glob("*.lua")} == set(LOADED)


@pytest.mark.parametrize("name", sorted(LOADED))
def test_a_header_names_keys_arguments_and_what_is_returned(name: str) -> None:
    header = [line for line in text(name).splitlines() if line.startswith("--")]

    for word in ("KEYS", "ARGV", "RETURN"):
        assert any(line.startswith(f"-- {word} ") for line in header), f"{name}.lua: no {word}"


@pytest.mark.parametrize("name", sorted(LOADED))
def test_a_header_names_the_preludes_that_are_called(name: str) -> None:
    declared, body = uses(text(name)), text(name)
    whole = LOADED[name].source

    defined = {
        function: prelude
        for prelude in PRELUDES
        for function in re.findall(r"^local function (\w+)", text(f"lib/{prelude}"), re.MULTILINE)
    }
    called = {defined[word] for word in re.findall(r"\b(\w+)\(", body) if word in defined}
    inside = {
        defined[word]
        for prelude in declared
        for word in re.findall(r"\b(\w+)\(", text(f"lib/{prelude}"))
        if word in defined
    }
    needed = inside - called
    own = set(re.findall(r"^local function (\w+)", body, re.MULTILINE))
    assert set(declared) == {p for p in called if p not in own} | needed
    positions = [whole.index(text(f"lib/{prelude}")) for prelude in declared]
    assert positions == sorted(positions)


@pytest.mark.parametrize("name", sorted(sources()))
def test_no_script_scans_keys_or_builds_their_names(name: str) -> None:
    source = text(name)

    assert not re.search(r"'(KEYS|SCAN|SMEMBERS|FLUSHALL|EVAL)'", source)
    for command in re.findall(r"\bp?call\('[A-Z]+', ([^,)]+)", source):
        assert ".." not in command, f"{name}.lua builds a key name: {command}"


@pytest.mark.parametrize("name", sorted(sources()))
def test_scripts_are_short(name: str) -> None:
    assert len(text(name).splitlines()) <= 80


async def test_a_script_that_the_server_forgot_is_sent_whole(box: Box, plain: redis.Redis) -> None:
    await box.put()
    plain.script_flush()

    (task_id,) = await box.put()
    assert await box.records.read(task_id) is not None
    assert plain.script_exists(scripts.ENQUEUE.sha) == [True]
