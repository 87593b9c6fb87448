"""Whole training runs on two gloo processes against one process."""

import copy

import pytest
import torch

from ddp import run_on_ranks
from pcfrl_lightning import PCFRL
from pcfrl_lightning.methods.orthogonality import CrossCovariance
from pcfrl_lightning.methods.pcfrl import VIEW_ORDER
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm
from tiny import TinyFaces, summands, tiny_model, trainer


def batch(images=8):
    generator = torch.Generator().manual_seed(3)
    return {name: torch.rand(images, 3, 32, 32, generator=generator, dtype=torch.float64) for name in VIEW_ORDER}


def loss_and_gradients(rank, ranks, orthogonality):
    """The value of Eq. 8 and the gradient of every weight, averaged over ranks as DDP does."""
    model = tiny_model(orthogonality=orthogonality).double()
    if ranks > 1:
        sync_batch_norm(model.network, "cpu")
    share = {name: views[rank::ranks] for name, views in batch().items()}
    pdd, face, pose = summands(model, share)
    loss = pdd + face.loss + face.calibrated_loss + pose.loss + pose.calibrated_loss
    loss.backward()
    values = [loss.detach(), *(weight.grad for weight in model.parameters())]
    if ranks > 1:
        for value in values:
            torch.distributed.all_reduce(value)
            value /= ranks
    return values, face.calibrated_loss.detach()


@pytest.mark.parametrize("orthogonality", [None, CrossCovariance()])
def test_two_ranks_of_half_the_batch_give_the_loss_and_gradients_of_one_process(orthogonality):
    expected, calibrated = loss_and_gradients(0, 1, orthogonality)
    assert calibrated != 0  # pairs were calibrated, so Eq. 7 is part of what is compared
    for values, _ in run_on_ranks(loss_and_gradients, orthogonality):
        for value, reference in zip(values, expected, strict=True):
            torch.testing.assert_close(value, reference, atol=1e-9, rtol=1e-9)


class PlainDescent(PCFRL):
    """Adam divides by the size of the gradient, so it would blow rounding up where the gradient is zero."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_lightning_ddp_trains_to_the_same_weights(tmp_path):
    """Two processes with 4 images each take the steps of one process with 8 images, through Lightning itself."""
    single = tiny_model(cls=PlainDescent)
    start = copy.deepcopy(single.state_dict())
    trainer(tmp_path, max_epochs=2, limit_train_batches=1).fit(single, TinyFaces(images=8, batch_size=8))
    double = tiny_model(cls=PlainDescent)
    double.load_state_dict(start)
    run = trainer(tmp_path, max_epochs=2, limit_train_batches=1, devices=2, strategy="ddp_spawn")
    run.fit(double, TinyFaces(images=8, batch_size=4))
    moved = 0
    for (name, expected), actual in zip(single.state_dict().items(), double.state_dict().values(), strict=True):
        torch.testing.assert_close(
            actual, expected, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
        moved += not torch.equal(expected, start[name])
    assert moved > 20
