"""ServerUrl: where an app's server is, as the environment or the app says."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from castwork.model.errors import DefinitionError, ServerUnavailable

if TYPE_CHECKING:
    from castwork.embedded import SharedServer

#: The environment variable that tells the URL of the server.
URL_VARIABLE = "CASTWORK_URL"

#: The environment variable that names a file with such a URL, as secrets are handed to containers.
URL_FILE_VARIABLE = "CASTWORK_URL_FILE"

_EMBEDDED = "embedded://"


class ServerUrl:
    """Finds the server, and starts or joins the embedded one where there is no other.

    Args:
        url: the app's own URL, which `CASTWORK_URL` and `CASTWORK_URL_FILE` replace.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._embedded: SharedServer | None = None

    @property
    def configured(self) -> str:
        """The URL as configured, `embedded://` included: nothing is started or resolved.

        Raises:
            DefinitionError: the file that should tell it cannot be read.
        """
        return os.environ.get(URL_VARIABLE) or _url_from_file() or self._url

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

    def close(self) -> None:
        """Leave the embedded server."""
        with self._lock:
            embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.stop()


def _url_from_file() -> str:
    """The first line of the file that `CASTWORK_URL_FILE` names; empty without that variable."""
    path = os.environ.get(URL_FILE_VARIABLE)
    if not path:
        return ""
    try:
        url = Path(path).read_text(encoding="utf-8").strip().partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{URL_FILE_VARIABLE}={path} cannot be read: {error}") from None
    if not url:
        raise DefinitionError(f"{URL_FILE_VARIABLE}={path} is empty: write a URL there")
    return url
