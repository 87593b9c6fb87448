"""The order of training images, as (epoch, index) pairs that seed the workers, and where a restored run continues."""

from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, DistributedSampler


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Shuffled indices of one rank, each with the number of the epoch.

    An item seeds its generator with `[seed, epoch, index]`, so the augmentation of an image depends neither on the
    number of workers nor on the rank, and never repeats in another epoch.  Lightning calls `set_epoch` (also after a
    resume) and leaves a DistributedSampler alone, so the same class serves one process and many.  Ranks see different
    images and equally many; up to `replicas - 1` images are left out in an epoch, others in the next.

    The first epoch is `epoch`, and `skip` of its images were trained on before an interruption and are left out.
    """

    def __init__(
        self, data: Sized, replicas: int = 1, rank: int = 0, seed: int = 0, epoch: int = 0, skip: int = 0
    ) -> None:
        super().__init__(data, num_replicas=replicas, rank=rank, shuffle=True, seed=seed, drop_last=True)  # type: ignore[arg-type]
        self.epoch = self.first_epoch = epoch
        self.skip = skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        skip = self.skip if self.epoch == self.first_epoch else 0
        for index in islice(super().__iter__(), skip, None):
            yield self.epoch, int(index)  # type: ignore[call-overload]


class ResumableLoader(DataLoader[Any]):
    """A loader that Lightning takes for resumable; its sampler starts where `resume_point` says."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: workers read ahead, so that the batches trained on are counted by the trainer alone."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def resume_point(trainer: L.Trainer, batches: int) -> tuple[int, int]:
    """The epoch to train next and how many of its ``batches`` are done with.

    To be asked when the loader is made, which is after Lightning has restored its counters and before it uses them.
    """
    loop: Any = trainer.fit_loop
    inner, epochs = loop.epoch_loop, loop.epoch_progress.current
    if not loop.restarting:
        return epochs.processed, 0
    if epochs.ready == epochs.started == epochs.processed:
        # the epoch was complete; a run bounded by `max_steps` takes it for interrupted and would train on a batch of it
        loop._restarting = inner.restarting = False
        return epochs.processed, 0
    progress = inner.batch_progress
    current, last = progress.current, progress.is_last_batch
    after_step = current.ready == current.processed == current.completed + 1  # saved in `on_train_batch_end`
    done = current.completed + after_step
    # gradients are not in a checkpoint: the batches of an unfinished step are trained on again
    done -= 0 if last else done % trainer.accumulate_grad_batches
    if last or done < current.completed + after_step:
        # after a last batch, Lightning would leave out `on_train_epoch_end` and the count of the next epoch's start
        shift = done - current.completed
        for counter in (progress.total, current):
            counter.completed += shift
            counter.reset_on_restart()
        inner._batches_that_stepped += last and after_step
    # of an epoch that `limit_train_batches` ended, Lightning would train on one batch more if there was any
    return epochs.processed, batches if last else done
