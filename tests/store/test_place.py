"""What a place says of keys that hold something else."""

from __future__ import annotations

import pytest
import redis
from tests.store.box import Box

from castwork.model.errors import ServerRefused
from castwork.store.letter import Letter


async def test_a_key_of_another_type_is_named_among_those_that_were_asked(
    box: Box, plain: redis.Redis
) -> None:
    plain.set(box.keys.dead, "x")
    (token,) = await box.held()
    plain.script_flush()
    for _ in range(2):  # sent whole, and by its hash
        with pytest.raises(ServerRefused, match=r"WRONGTYPE: one of the keys .*:dead"):
            await box.alice.outcomes.bury(token.delivery, b"", _letter(token.task))


def _letter(task_id: str) -> Letter:
    return Letter("", task_id, "f", 1, "normal", [], [b"call", b"f - {}"])
