"""`castwork tasks show` of a step tells of the steps before it."""

from __future__ import annotations

import pytest

from castwork import StepStatus, TaskState, TaskStatus
from castwork.cli.commands.tasks import _print


def test_steps_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        StepStatus("split", "docs", TaskState.SUCCEEDED, "docs:a", 1, 1),
        StepStatus("embed", "gpu", TaskState.RUNNING, count=30, ended=4),
        StepStatus("store", "db", TaskState.SCHEDULED, count=0),
    ]
    _print(TaskStatus(TaskState.SCHEDULED, "last", task_id="q:1", queue="q", steps=steps), None)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("step")] == [
        "step       split in docs: succeeded (docs:a)",
        "step       embed in gpu: running (4 of 30)",
        "step       store in db: scheduled (0 of as yet unknown)",
    ]
