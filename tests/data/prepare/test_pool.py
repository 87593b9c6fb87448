"""Answers in order, from processes that may die."""

import pytest

from pcfrl_lightning.data.prepare.pool import in_order
from pcfrl_lightning.errors import UsageError
from videos import KILLED, SEGFAULT, die, fail


def test_answers_come_in_order_and_tasks_are_read_a_few_at_a_time():
    read = []

    def tasks():
        for task in range(40):
            read.append(task)
            yield task

    answers = in_order(die, tasks(), 2, lambda status: status)
    assert next(answers) == 0
    assert len(read) <= 9
    assert list(answers) == [task * task for task in range(1, 40)]


def test_a_task_that_ends_its_process_twice_is_answered_for():
    assert list(in_order(die, [1, SEGFAULT, 2, SEGFAULT, 3], 2, lambda status: status)) == [1, SEGFAULT, 4, SEGFAULT, 9]


def test_a_process_that_was_killed_is_not_the_fault_of_the_task():
    with pytest.raises(UsageError, match=r"a worker was killed, probably because memory ran out, .* fewer --workers"):
        list(in_order(die, [1, KILLED], 1, lambda status: status))


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_are_passed_on(workers):
    with pytest.raises(OSError, match=r"Input/output error.*clip.mp4"):
        list(in_order(fail, range(9), workers, lambda status: status))
