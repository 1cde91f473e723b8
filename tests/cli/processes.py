"""The command line as real processes, started, watched and ended by the tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from tests.eventually import wait_until

HERE = Path(__file__).parent


def environment(**extra: str) -> dict[str, str]:
    """The environment without what would choose an app or a server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CASTWORK_")}
    return kept | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | extra


def castwork(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = HERE
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "castwork", *arguments],
        env=dict(env or environment()),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=45,
        stdin=subprocess.DEVNULL,
    )


class Running:
    """A command that runs on, its output, and all processes that it started."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "castwork", *arguments],
            env=dict(env or environment()),
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._seen: dict[int, psutil.Process] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    def wait_for(self, pattern: str, *, within: float = 30.0) -> re.Match[str]:
        """Wait until its output matches."""

        def find() -> re.Match[str] | None:
            found = re.search(pattern, self.output)
            assert found or self.process.poll() is None, f"it ended:\n{self.output}"
            return found

        try:
            found = wait_until(find, pattern, within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}\nits output:\n{self.output}") from None
        assert found is not None
        return found

    def family(self) -> list[psutil.Process]:
        """It and all processes below it, those of earlier looks included."""
        try:
            here = psutil.Process(self.process.pid)
            for one in (here, *here.children(recursive=True)):
                self._seen.setdefault(one.pid, one)
        except psutil.NoSuchProcess:
            pass
        return list(self._seen.values())

    def children(self, role: str) -> list[int]:
        """Pids of its live children of a role: gateway or worker."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                # A worker replaces itself by a process without the command line's libraries.
                if {role, f"castwork.cli.supervise.{role}_process"} & set(child.cmdline()[:4]):
                    found.append(child.pid)
            except psutil.Error:
                continue
        return found

    def alive(self) -> list[psutil.Process]:
        """Which of the family still run."""
        return [one for one in self.family() if is_alive(one)]

    def signal(self, number: int) -> None:
        """Send it a signal; the family is noted first."""
        self.family()
        self.process.send_signal(number)

    def wait(self, within: float = 30.0) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(within)
        self._reader.join(5)
        return code

    def clean_up(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        for one in self.alive():
            one.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self._reader.join(5)
        self.process.stdout.close()


class Up(Running):
    """`castwork up` on the sample app, on any free port."""

    def __init__(self, *arguments: str, module: str = "sample_app") -> None:
        super().__init__("up", module, "--port", "0", *arguments)

    def wait_ready(self) -> Up:
        """Wait for the start-up message."""
        self.wait_for("Ctrl-C lets running tasks finish")
        return self

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self.wait_for(r"gateway +(http://[\d.]+:\d+), pid").group(1)

    @property
    def server_url(self) -> str:
        """The Redis URL."""
        return self.wait_for(r"CASTWORK_URL=(\S+)").group(1)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same server."""
        env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=self.server_url)
        return castwork(*arguments, env=env)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
