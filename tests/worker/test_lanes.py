"""Whom to serve next: urgent lanes first, and none starves."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from castwork.model.queue import Lane, Queue
from castwork.store.claims import Batch
from castwork.worker.lanes import Lanes

LANES = Queue("q").lanes
SHARES = [lane.share for lane in LANES]


def batch(*taken: int) -> Batch:
    """What a claim brought, by the number of entries per lane."""
    return Batch(0, [(n, [(b"1-0", [])] * count) for n, count in enumerate(taken) if count])


def serve(lanes: Lanes, waiting: list[int], count: int) -> list[int]:
    """One claim, as `claim.lua` does it: first what the lanes are sure of, then in order."""
    shares, taken, left = lanes.shares(count), [0] * len(waiting), count
    wishes = [(n, shares[n]) for n in range(1, len(waiting))]
    for number, wish in [*wishes, *enumerate([count] * len(waiting))]:
        got = min(wish, left, waiting[number])
        waiting[number] -= got
        taken[number] += got
        left -= got
    lanes.note(batch(*taken), shares)
    return taken


def served(waiting: Sequence[int], count: int, times: int) -> list[int]:
    lanes, left = Lanes(LANES), list(waiting)
    total = [0] * len(left)
    for _ in range(times):
        total = [a + b for a, b in zip(total, serve(lanes, left, count), strict=True)]
    return total


def test_first_claim_is_sure_of_nothing() -> None:
    assert Lanes(LANES).shares(100) == [0, 0, 0]


def test_full_first_lane_leaves_the_others_their_shares() -> None:
    high, normal, low = served([10_000] * 3, 10, 200)

    assert high + normal + low == 2000
    assert abs(normal - 2000 * LANES[1].share) <= 10
    assert abs(low - 2000 * LANES[2].share) <= 10


def test_worker_of_one_slot_serves_every_lane_too() -> None:
    high, normal, low = served([1000] * 3, 1, 100)

    assert high > normal > low > 0


def test_lane_that_is_empty_saves_up_nothing() -> None:
    lanes = Lanes(LANES)
    for _ in range(50):
        serve(lanes, [1000, 0, 0], 10)

    assert max(lanes.shares(100)) <= 10 * LANES[1].share + 1


def test_lane_that_alone_has_tasks_is_known() -> None:
    lanes = Lanes(LANES)
    assert lanes.only is None
    for taken, only in (
        ((5, 0, 0), 0),
        ((0, 0, 5), 2),
        ((1, 0, 5), None),
        ((0, 5, 0), 1),
        ((0, 0, 0), None),
    ):
        lanes.note(batch(*taken), lanes.shares(10))
        assert lanes.only == only


def test_lane_that_comes_twice_in_a_batch_is_one_lane() -> None:
    lanes = Lanes(LANES)
    one = [(b"1-0", [b"call", b"f"])]
    lanes.note(Batch(0, [(1, one), (1, one)]), [0, 1, 0])

    assert lanes.only == 1


def test_adopted_stream_has_its_share_beside_the_lanes() -> None:
    lanes = Lanes((*LANES, Lane("stream", 0.2)))
    left, total = [1000] * 4, [0] * 4
    for _ in range(50):
        total = [a + b for a, b in zip(total, serve(lanes, left, 10), strict=True)]

    assert abs(total[3] - 500 * 0.2) <= 10


@given(
    rounds=st.lists(
        st.tuples(st.integers(1, 50), st.lists(st.integers(0, 50), min_size=3, max_size=3)),
        max_size=50,
    )
)
def test_shares_are_never_more_than_what_is_claimed_nor_owed(
    rounds: list[tuple[int, list[int]]],
) -> None:
    lanes, total = Lanes(LANES), 0
    for count, waiting in rounds:
        shares = lanes.shares(count)
        owed = [share * total for share in SHARES]
        assert all(0 <= s <= min(count, o) + 1e-6 for s, o in zip(shares, owed, strict=True))
        total += sum(serve(lanes, list(waiting), count))
