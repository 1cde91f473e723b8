from __future__ import annotations

import subprocess
import sys

import castwork

#: What importing castwork may load beside itself and what asyncio, msgspec and hiredis load.
#: Each name costs every process time at its start: add one only for what that start needs.
LOADED = {
    *("bisect", "copy", "dataclasses", "fnmatch", "glob", "hashlib", "ipaddress", "ntpath"),
    *("pathlib", "random", "urllib"),
    *("_bisect", "_blake2", "_hashlib", "_random", "_sha2", "_sha512"),
    *("grp", "pwd"),  # by pathlib itself, from Python 3.13 on
}


def test_public_names_are_sorted_and_exist() -> None:
    assert sorted(castwork.__all__) == castwork.__all__
    for name in castwork.__all__:
        assert getattr(castwork, name) is not None


def test_importing_castwork_loads_no_framework() -> None:
    listing = "import castwork, sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"

    loaded = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout.split()

    heavy = {"fastapi", "starlette", "uvicorn", "pydantic", "typer", "rich", "redis", "uvloop"}
    assert not heavy & set(loaded)


def test_importing_castwork_loads_no_worker() -> None:
    listing = "import castwork, sys; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout.split()

    for part in ("worker", "gateway", "cli", "embedded", "demo"):
        assert not [name for name in loaded if f"{name}.".startswith(f"castwork.{part}.")]


def test_importing_castwork_loads_little() -> None:
    listing = (
        "import sys, asyncio, msgspec, hiredis; before = set(sys.modules); import castwork;"
        " print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout.split()

    assert set(loaded) - {"castwork"} <= LOADED
