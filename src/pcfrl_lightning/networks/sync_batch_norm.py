"""BatchNorm whose statistics are taken over all ranks, on any device (torch.nn.SyncBatchNorm refuses CPU tensors)."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pcfrl_lightning.distributed import all_reduce_sum, world_size
from pcfrl_lightning.functional.precision import full_precision


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all ranks together; 1d and 2d, (B, C) or (B, C, ...), same state dict as torch's.

    Ranks may hold different numbers of rows. Statistics are float32 under autocast. In evaluation mode, and in a single
    process, it is torch's own BatchNorm.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected a (B, C, ...) tensor, got {input.ndim} dimension(s)")

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape and dtype."""
        if not (self.training and world_size() > 1):
            return super().forward(input)
        self._check_input_dim(input)
        return self._normalize(input).to(input.dtype)

    @full_precision
    def _normalize(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        dims = [dim for dim in range(x.ndim) if dim != 1]
        shape = [channels if dim == 1 else 1 for dim in range(x.ndim)]
        rows = x.new_tensor([x.numel() // channels])
        totals = all_reduce_sum(torch.cat([x.sum(dims), rows]))
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centred = x - mean.view(shape)
        # a second reduction of the centred squares: E[x^2] - E[x]^2 would lose digits
        variance = all_reduce_sum(centred.square().sum(dims)) / count
        self._update(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            return centred * (scale * self.weight).view(shape) + self.bias.view(shape)
        return centred * scale.view(shape)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


def sync_batch_norm(module: nn.Module, device_type: str) -> nn.Module:
    """Replace every BatchNorm inside ``module`` by one over all ranks; parameters and buffers are kept, not copied.

    Args:
        module: changed in place (and returned, because a ``module`` that is itself a BatchNorm has to be replaced).
        device_type: ``"cuda"`` takes torch.nn.SyncBatchNorm, everything else `GlobalBatchNorm`.
    """
    if device_type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        return _global(module)
    for name, child in module.named_children():
        setattr(module, name, sync_batch_norm(child, device_type))
    return module


def _global(norm: _BatchNorm) -> GlobalBatchNorm:
    result = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    result.weight, result.bias = norm.weight, norm.bias
    result.running_mean, result.running_var = norm.running_mean, norm.running_var
    result.num_batches_tracked = norm.num_batches_tracked
    return result.train(norm.training)
