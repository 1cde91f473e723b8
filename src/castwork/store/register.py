"""Register: the live workers of a namespace, with what each tells about itself."""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from castwork.model.worker_info import WorkerInfo
from castwork.store.members import Members
from castwork.store.place import RegisterPlace

logger = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(WorkerInfo).decode

#: Seconds of silence after which a worker counts as lost.
LOST_AFTER = 10.0


class Registered(NamedTuple):
    """A worker on the register.

    Attributes:
        info: what the worker told about itself.
        silent_for: seconds since the worker's last sign of life, by the server's clock.
    """

    info: WorkerInfo
    silent_for: float

    @property
    def is_lost(self) -> bool:
        """Whether the worker has been silent for so long that it is no longer counted on."""
        return self.silent_for > LOST_AFTER


class Register:
    """Reads the register of workers.

    Args:
        place: where the register is.
    """

    def __init__(self, place: RegisterPlace) -> None:
        self._members = Members.of_workers(place)

    async def workers(self) -> list[Registered]:
        """The workers on the register, lost ones included; a line that does not decode is left out.

        Raises:
            ConnectionFailed: no server in time.
        """
        workers = []
        for member in await self._members.alive():
            try:
                workers.append(Registered(_decode(member.info), member.silent_for))
            except (msgspec.MsgspecError, RecursionError) as error:
                logger.warning("the register's line of %s was skipped: %s", member.name, error)
        return workers
