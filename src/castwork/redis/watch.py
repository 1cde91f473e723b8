"""Watch: finds a server that has fallen silent, and ends calls that are overdue."""

from __future__ import annotations

import logging

import hiredis

from castwork.model.errors import EffectUnknown
from castwork.model.settings import LinkSettings
from castwork.redis.wire import Call, Nobody, Wire

logger = logging.getLogger(__name__)

_PING = hiredis.pack_command(("PING",))
_NOBODY = Nobody()

#: Seconds between looks.
INTERVAL = 0.5


class Watch:
    """Looks at a link's present connection, once per interval.

    A connection without traffic gets a PING. A connection that owes an answer, and on which
    nothing has come for the ping timeout, is given up.

    Args:
        settings: timeouts.
        patience: seconds that the server may rightly be silent on top of the ping timeout.
        name: of the connection, for the log.
    """

    def __init__(self, settings: LinkSettings, patience: float, *, name: str) -> None:
        self._settings = settings
        self._patience = patience
        self._name = name
        self._quiet_since = 0.0
        self._unanswered_since = 0.0

    def begin(self, now: float) -> None:
        """Forget the times of the connection before, for a new one."""
        self._quiet_since = self._unanswered_since = now

    def look(self, wire: Wire, where: object, now: float, *, slack: float = 0.0) -> None:
        """Look at the connection once.

        Args:
            wire: the connection.
            where: its server, for the log and for errors.
            now: loop time.
            slack: seconds that the server may now be silent on top of that.
        """
        if wire.heard:
            wire.heard = False
            self._quiet_since = self._unanswered_since = now
        if not wire.sent:
            self._unanswered_since = now
            if now - self._quiet_since > self._settings.ping_interval:
                self._quiet_since = now
                wire.send(Call(_NOBODY, _PING, 0.0, True))
            return
        if now - self._unanswered_since > self._settings.ping_timeout + self._patience + slack:
            logger.warning("%s is silent, connection %s is given up", where, self._name)
            wire.abort()
            return
        for call in wire.sent:
            if 0.0 < call.deadline < now and not call.reply.done():
                call.reply.set_exception(
                    EffectUnknown(f"no reply from {where} in time; the command may run yet")
                )
