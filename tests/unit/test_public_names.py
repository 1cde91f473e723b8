from __future__ import annotations

import subprocess
import sys

import castwork


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
