from __future__ import annotations

import os

from castwork.model.ids import ALPHABET, IdSource, new_task_id, queue_of


def test_ids_are_unique_and_sorted() -> None:
    source = IdSource()
    made = [source.next() for _ in range(50_000)]

    assert len(set(made)) == len(made)
    assert made == sorted(made)
    assert {len(one) for one in made} == {26}
    assert set("".join(made[:100])) <= set(ALPHABET)


def test_a_task_id_names_its_queue() -> None:
    assert queue_of(new_task_id("inference")) == "inference"
    assert queue_of(new_task_id("with-dashes")) == "with-dashes"
    assert queue_of("nonsense") == ""


def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    new_task_id("q")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, new_task_id("q").encode())
        os._exit(0)
    ours = new_task_id("q")
    os.waitpid(child, 0)

    theirs = os.read(read_end, 100).decode()

    assert theirs[:-4] != ours[:-4], "the random part must differ, not only the counter"
