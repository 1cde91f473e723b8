"""Every script says what it takes and returns, and touches declared keys only."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from castwork.redis import scripts

FOLDER = resources.files("castwork.redis") / "lua"
NAMES = sorted(f.name.removesuffix(".lua") for f in FOLDER.iterdir())
LOADED = {s.name: s for s in vars(scripts).values() if isinstance(s, scripts.Script)}


def text(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def test_every_file_is_a_loaded_script() -> None:
    assert set(NAMES) - {"owns"} == set(LOADED)


@pytest.mark.parametrize("name", sorted(LOADED))
def test_header_names_keys_arguments_and_return(name: str) -> None:
    header = [line for line in text(name).splitlines() if line.startswith("--")]

    for word in ("KEYS", "ARGV", "RETURN"):
        assert any(word in line for line in header), f"{name}.lua has no {word} line"


@pytest.mark.parametrize("name", sorted(LOADED))
def test_no_script_scans_or_builds_key_names(name: str) -> None:
    source = text(name)

    assert not re.search(r"'(KEYS|SCAN|SMEMBERS|FLUSHALL)'", source)
    for command in re.findall(r"redis\.p?call\('[A-Z]+', ([^,)]+)", source):
        assert ".." not in command, f"{name}.lua builds a key name: {command}"


@pytest.mark.parametrize("name", sorted(LOADED))
def test_scripts_are_short(name: str) -> None:
    assert len(text(name).splitlines()) <= 80
