"""A process that fails ends the others of its run, which would wait for it in a collective operation."""

import os
import sys
import threading
import time
from contextlib import suppress

import torch.distributed as dist

_KEY = "pcfrl/failure"
_BEAT = "pcfrl/alive/{}"
_PERIOD = 1.0  # seconds between two looks, a round trip over the network each
_SILENCE = 40.0  # seconds without a sign of life after which a process counts as dead


class FailureWatch:
    """Looks for the failure of another process in a thread; does nothing in a run of one process.

    For errors that one process meets alone, such as unreadable images of its share; those of set-up are met by all. A
    process that dies without a word (killed, out of memory, a lost machine) no longer counts up its sign of life, which
    process 0 watches.
    """

    def __init__(self) -> None:
        self._stopped: threading.Event | None = None

    def start(self) -> None:
        if self._stopped is None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self._stopped = threading.Event()
            self._store = dist.distributed_c10d._get_default_store()
            store = self._store.clone()  # a connection of its own: the other may be busy waiting
            rank, ranks = dist.get_rank(), dist.get_world_size()
            store.add(_BEAT.format(rank), 1)  # before the first step, in which it may already be lost
            threading.Thread(target=_look, args=(store, self._stopped, rank, ranks), daemon=True).start()

    def stop(self) -> None:
        if self._stopped is not None:
            self._stopped.set()
            self._stopped = None

    def report(self, error: BaseException) -> None:
        """Tell the others why this process ends, and give them the time to read it: rank 0 keeps the message."""
        if self._stopped is None:
            return
        self.stop()
        with suppress(RuntimeError):  # process 0 may have ended; the error itself is what is to be seen
            self._store.set(_KEY, f"process {dist.get_rank()} failed: {error}")
        time.sleep(3 * _PERIOD)


def _look(store: dist.Store, stopped: threading.Event, rank: int, ranks: int) -> None:
    message, beats = "", dict.fromkeys(range(1, ranks), (0, time.monotonic()))
    while not message:
        if stopped.wait(_PERIOD):
            with suppress(RuntimeError):  # process 0 may have ended before
                store.set(_BEAT.format(rank), "-1")  # ends in order
            return
        try:
            store.add(_BEAT.format(rank), 1)
            if rank == 0:
                _note_silence(store, beats)
            message = store.get(_KEY).decode() if store.check([_KEY]) else ""
        except RuntimeError:
            message = "process 0 has ended"
    if stopped.wait(_PERIOD):  # this process failed at the same time
        return
    print(f"pcfrl: {message}; this process ends as well", file=sys.stderr, flush=True)
    os._exit(1)  # the main thread may never return from a collective operation


def _note_silence(store: dist.Store, beats: dict[int, tuple[int, float]]) -> None:
    """Report a process whose count stands still; ``beats``: count and time of its last change, by rank."""
    for rank, (count, since) in beats.items():
        now = store.add(_BEAT.format(rank), 0)
        if now != count:
            beats[rank] = now, time.monotonic()
        elif now > 0 and time.monotonic() - since > _SILENCE:
            store.set(_KEY, f"process {rank} has given no sign of life for {_SILENCE:.0f} s: it was killed, or is lost")
