"""Delivery: one task as one worker got it, with its fencing token."""

from __future__ import annotations


class Delivery:
    """One delivery of a stream entry.

    The worker's id and `deliveries` together are the fencing token: a transition changes nothing
    for a delivery whose lease has passed on.

    Attributes:
        lane: position of the task's lane among the queue's lanes, from 0.
        entry_id: id of the task's stream entry.
        deliveries: how often that entry was delivered, this time included.
        task_id: the task.
        producer: the producer that is told the outcome; empty where the task id names none.
        moved: whether the task id does not name this entry.
    """

    __slots__ = ("deliveries", "entry_id", "lane", "moved", "producer", "task_id")

    def __init__(self, lane: int, entry_id: bytes, deliveries: int) -> None:
        self.lane = lane
        self.entry_id = entry_id
        self.deliveries = deliveries
        self.task_id = ""
        self.producer = ""
        self.moved = False
