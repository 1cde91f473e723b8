"""What an import says where the gateway's packages are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("missing", ["fastapi", "starlette", "prometheus_client"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import castwork.gateway"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = found.stderr.splitlines()[-1]
    assert last == (
        f"ModuleNotFoundError: castwork.gateway needs {missing!r}:"
        " run `pip install 'castwork[gateway]'`"
    )
