"""For tests of users: a private server that moves in time, one function alone, or no server."""

from castwork.testing.inline import inline
from castwork.testing.recording import Run
from castwork.testing.running import running
from castwork.testing.single import Outcome, run_task

__all__ = ["Outcome", "Run", "inline", "run_task", "running"]
