"""ServerUrl: where an app's server is, as the environment or the app says."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from castwork.model.errors import DefinitionError, ServerUnavailable

if TYPE_CHECKING:
    from castwork.embedded import SharedServer

_EMBEDDED = "embedded://"


class ServerUrl:
    """Finds the server, and starts or joins the embedded one where there is no other.

    Args:
        url: the app's own URL, which the environment may replace.
        env: what the names of the variables begin with, as `CASTWORK` for `CASTWORK_URL` and
            `CASTWORK_URL_FILE`, which names a file with the URL; None for no variables.

    Attributes:
        override: a URL that replaces all others, empty for none.
    """

    def __init__(self, url: str, env: str | None = "CASTWORK") -> None:
        self._url = url
        self._env = env
        self.override = ""
        self._lock = threading.Lock()
        self._embedded: SharedServer | None = None

    @property
    def configured(self) -> str:
        """The URL as configured, `embedded://` included: nothing is started or resolved.

        Raises:
            DefinitionError: the file that should tell it cannot be read.
        """
        return self.override or self._from_environment() or self._url

    @property
    def variable(self) -> str:
        """The variable that tells other processes the URL; empty where none is read."""
        return "" if self._env is None else f"{self._env}_URL"

    def _from_environment(self) -> str:
        variable = self.variable
        return variable and (os.environ.get(variable) or _url_from_file(f"{variable}_FILE"))

    @property
    def is_embedded(self) -> bool:
        """Whether the server is an embedded one."""
        return self.configured.startswith(_EMBEDDED)

    def find(self, *, or_start: bool = True) -> str:
        """The server's URL; the embedded server is joined, or started if it does not run. Blocks.

        Args:
            or_start: whether an embedded server may be started.

        Raises:
            ServerUnavailable: the embedded server cannot be started, or does not run.
        """
        url = self.configured
        if not url.startswith(_EMBEDDED):
            return url
        with self._lock:
            if self._embedded is None:
                from castwork.embedded import SharedServer  # noqa: PLC0415 - not all need it

                self._embedded = SharedServer.of_url(url)
            if or_start:
                return self._embedded.start()
            found = self._embedded.join()
        if not found:
            raise ServerUnavailable(f"no process runs the embedded server of {url}")
        return found

    @contextmanager
    def overridden(self, url: str) -> Iterator[None]:
        """Have another URL replace all others inside of a block."""
        before, self.override = self.override, url
        try:
            yield
        finally:
            self.override = before

    def close(self) -> None:
        """Leave the embedded server."""
        with self._lock:
            embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.stop()


def _url_from_file(variable: str) -> str:
    """The first line of the file that a variable names; empty without that variable."""
    path = os.environ.get(variable)
    if not path:
        return ""
    try:
        url = Path(path).read_text(encoding="utf-8").strip().partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{variable}={path} cannot be read: {error}") from None
    if not url:
        raise DefinitionError(f"{variable}={path} is empty: write a URL there")
    return url
