"""The order of training images, as (epoch, index) pairs from which workers seed their random numbers."""

from collections.abc import Iterator, Sized
from itertools import islice

from torch.utils.data import DistributedSampler


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
