"""One function in several processes; answers come in the order of the tasks."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from pcfrl_lightning.errors import UsageError

Task = TypeVar("Task")
Answer = TypeVar("Answer")
_AHEAD = 4
"""Tasks a process that are under way or wait for an earlier one."""


def in_order(
    function: Callable[[Task], Answer], tasks: Iterable[Task], workers: int, died: Callable[[int], Answer]
) -> Iterator[Answer]:
    """``map(function, tasks)`` by some processes, of which none outlives this one.

    Args:
        function: is sent to each process once.
        tasks: are read a few at a time.
        workers: processes; 0 calls the function here.
        died: the answer to a task that ended its process twice by this signal or status, as a decoder may do.

    Raises:
        UsageError: a process was killed (signal 9), for which the usual reason is memory.
    """
    if workers == 0:
        yield from map(function, tasks)
        return
    pool = [_Worker(function) for _ in range(workers)]
    source = iter(tasks)
    waiting: deque[list[Any]] = deque()  # [task, answers, tries], in order
    try:
        while True:
            for worker in pool:
                if worker.job is None and len(waiting) < _AHEAD * workers:
                    for task in source:
                        waiting.append([task, [], 0])
                        worker.begin(waiting[-1])
                        break
            if not waiting:
                return
            busy = {worker.connection: worker for worker in pool if worker.job is not None}
            for connection in wait(list(busy)):
                busy[connection].end(died)  # type: ignore[index]
            while waiting and waiting[0][1]:
                yield waiting.popleft()[1][0]
    finally:
        for worker in pool:
            worker.stop()


class _Worker(Generic[Task, Answer]):
    """A process and its job: task, list for the answer, and how often the task ended a process."""

    def __init__(self, function: Callable[[Task], Answer]) -> None:
        self.function = function
        self.job: list[Any] | None = None
        self._start()

    def begin(self, job: list[Any]) -> None:
        self.job = job
        with suppress(OSError):  # a process that has ended is noticed when its answer is read
            self.connection.send(job[0])

    def end(self, died: Callable[[int], Answer]) -> None:
        """Take the answer; a process that died is replaced, and tries the task once more."""
        assert self.job is not None
        job = self.job
        try:
            error, answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            status = self.process.exitcode or 0
            if status == -signal.SIGKILL:
                raise UsageError(
                    f"a worker was killed, probably because memory ran out, at {getattr(job[0], 'place', job[0])}; "
                    "take fewer --workers and run the command again"
                ) from None
            job[2] += 1
            self._start()
            if job[2] < 2:
                self.begin(job)
                return
            error, answer = None, died(status)
        if error is not None:
            raise error
        job[1].append(answer)
        self.job = None

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()

    def _start(self) -> None:
        context = get_context("forkserver")  # a process of its own, without the descriptors and threads of this one
        context.set_forkserver_preload([__package__])
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, self.function), daemon=True)
        self.process.start()
        other.close()


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """Answer tasks until the other end is closed, also because its process was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    import cv2

    cv2.setNumThreads(1)
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            answer: tuple[Exception | None, Any]
            try:
                answer = None, function(task)
            except Exception as error:
                answer = error, None
            connection.send(answer)
