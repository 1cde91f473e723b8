from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castwork import Backoff


@given(
    base=st.floats(0.001, 60),
    factor=st.floats(1, 10),
    longest=st.floats(0.001, 86_400),
    attempts=st.integers(1, 10_000),
)
def test_a_wait_is_between_zero_and_its_ceiling(
    base: float, factor: float, longest: float, attempts: int
) -> None:
    backoff = Backoff(base, factor, longest)

    assert 0 <= backoff.wait(attempts) <= backoff.ceiling(attempts) <= longest


@given(attempts=st.integers(1, 200))
def test_ceilings_never_shrink(attempts: int) -> None:
    backoff = Backoff()

    assert backoff.ceiling(attempts) <= backoff.ceiling(attempts + 1)


@pytest.mark.parametrize("attempts", [1, 2, 5, 500, 10**9])
def test_a_wait_that_outgrows_numbers_is_the_longest(attempts: int) -> None:
    assert Backoff(base=0.01, factor=1e200, longest=0.1).ceiling(attempts) <= 0.1
    assert Backoff(base=0.0, factor=1e200).ceiling(attempts) == 0.0


def test_jitter_is_full() -> None:
    backoff = Backoff(base=8, factor=2, longest=100)

    assert backoff.wait(3, draw=0.0) == 0.0
    assert backoff.wait(3, draw=0.5) == 16.0
    assert backoff.wait(3, draw=1.0) == 32.0
    assert len({backoff.wait(3) for _ in range(20)}) > 1
