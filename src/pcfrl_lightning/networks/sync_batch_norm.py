"""BatchNorm whose statistics are taken over all ranks: torch.nn.SyncBatchNorm, and what it lacks on the CPU."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pcfrl_lightning.distributed import all_reduce_sum, world_size
from pcfrl_lightning.errors import require
from pcfrl_lightning.functional.precision import full_precision


class GlobalBatchNorm(_BatchNorm):
    """torch.nn.SyncBatchNorm for gloo processes, (B, C, ...): that one, and DDP with it, refuse CPU tensors.

    Ranks may hold different numbers of rows. Statistics are float32 under autocast. In evaluation mode, and in a single
    process, it is torch's own BatchNorm.
    """

    def forward(self, input: Tensor) -> Tensor:
        across_ranks = self.training and world_size() > 1
        return self._normalize(input).to(input.dtype) if across_ranks else super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:
        require(input.ndim >= 2, f"expected a (B, C, ...) tensor, got {input.ndim} dimension(s)")

    @full_precision
    def _normalize(self, x: Tensor) -> Tensor:
        dims, shape = [dim for dim in range(x.ndim) if dim != 1], [1, -1, *(1 for _ in x.shape[2:])]
        totals = all_reduce_sum(torch.cat([x.sum(dims), x.new_tensor([x.numel() // x.shape[1]])]))
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centred = x - mean.view(shape)
        # a second reduction of the centred squares: E[x^2] - E[x]^2 would lose digits
        variance = all_reduce_sum(centred.square().sum(dims)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)
        result = centred * (variance + self.eps).rsqrt().view(shape)
        return result * self.weight.view(shape) + self.bias.view(shape) if self.affine else result


def sync_batch_norm(module: nn.Module, device_type: str) -> nn.Module:
    """Replace every BatchNorm inside ``module`` by one over all ranks: torch's on ``"cuda"``, else `GlobalBatchNorm`.

    In place; parameters and buffers are kept, not copied. Returned because ``module`` itself may be replaced.
    """
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if device_type != "cuda":
        for part in converted.modules():
            if type(part) is nn.SyncBatchNorm:
                part.__class__ = GlobalBatchNorm  # type: ignore[assignment]
    return converted
