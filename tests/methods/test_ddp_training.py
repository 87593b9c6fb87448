"""Whole training runs on two gloo processes against one process."""

import copy

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from ddp import run_on_ranks
from pcfrl_lightning import PCFRL
from pcfrl_lightning.heads import CalibratedContrast, Eq7, NoCalibration
from pcfrl_lightning.methods.means import EpochMeans
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


READINGS = (None, CrossCovariance())


def both_readings(rank, ranks):
    return [loss_and_gradients(rank, ranks, orthogonality) for orthogonality in READINGS]


def test_two_ranks_of_half_the_batch_give_the_loss_and_gradients_of_one_process():
    expected = both_readings(0, 1)
    for found in run_on_ranks(both_readings):
        for (values, _), (references, calibrated) in zip(found, expected, strict=True):
            assert calibrated != 0  # pairs were calibrated, so Eq. 7 is part of what is compared
            for value, reference in zip(values, references, strict=True):
                torch.testing.assert_close(value, reference, atol=1e-9, rtol=1e-9)


class PlainDescent(PCFRL):
    """Adam divides by the size of the gradient, so it would blow rounding up where the gradient is zero.

    In float64, so that rounding does not grow over the steps: what is left over is a difference of the method.
    """

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-5)

    def losses(self, batch):
        return super().losses(
            {name: view.double() if view.is_floating_point() else view for name, view in batch.items()}
        )


@pytest.mark.parametrize("processes", [2, 4])
def test_lightning_ddp_trains_to_the_same_weights(tmp_path, processes):
    """Processes with 8 images in all take the steps of one process with 8 images, through Lightning itself.

    Three epochs of three steps and three images left over, with losses that differ from rank to rank: DWA's means and
    weights and the logged means are those of one process.
    """
    head = CalibratedContrast(NoCalibration(), Eq7())  # a choice of pairs would turn rounding into other losses
    heads = {"face_contrast": head, "pose_contrast": head}
    single = tiny_model(cls=PlainDescent, **heads).double()
    start = copy.deepcopy(single.state_dict())
    alone = trainer(tmp_path, max_epochs=3)
    alone.fit(single, TinyFaces(images=27, batch_size=8))
    several = tiny_model(cls=PlainDescent, **heads).double()
    several.load_state_dict(start)
    strategy = DDPStrategy(process_group_backend="gloo", start_method="fork")
    run = trainer(tmp_path, max_epochs=3, devices=processes, strategy=strategy)
    run.fit(several, TinyFaces(images=27, batch_size=8 // processes))
    # what the runs changed differs by rounding only, however small the steps are
    way = torch.cat([(value - start[name]).flatten() for name, value in single.named_parameters()])
    other = torch.cat([(value - start[name]).flatten() for name, value in several.named_parameters()])
    assert (way - other).norm() < 1e-6 * way.norm()
    moved = 0
    for (name, expected), actual in zip(single.state_dict().items(), several.state_dict().values(), strict=True):
        torch.testing.assert_close(
            actual, expected, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
        moved += not torch.equal(expected, start[name])
    assert moved > 20
    assert (several.task_weights.weights - 1).abs().min() > 1e-4
    logged = {name for name in alone.callback_metrics if name.endswith("_epoch")}
    assert logged >= {"train/loss_epoch", "train/face/negative_cosine_epoch", "train/alpha_pose_epoch"}
    for name in logged:
        torch.testing.assert_close(run.callback_metrics[name], alone.callback_metrics[name], atol=1e-4, rtol=1e-3)


def sums_on_rank(rank, ranks):
    means = EpochMeans()
    for step in range(2):
        means.update(torch.tensor([1.0, 10.0]) * (1 + rank + 2 * step))
    sums = means.global_sums()  # in the middle of an epoch: the rank goes on with its own sums
    means.update(torch.zeros(2))
    resumed = EpochMeans()
    resumed.restore(sums, holder=rank == 0)
    resumed.update(torch.zeros(2))
    return sums, means.compute(), resumed.compute()


def test_epoch_means_are_those_of_all_ranks_also_after_a_resume():
    for sums, mean, resumed in run_on_ranks(sums_on_rank):
        assert sums["total"].tolist() == [10, 100]  # 1 + 3 on rank 0 and 2 + 4 on rank 1
        assert sums["steps"] == 4
        torch.testing.assert_close(mean, torch.tensor([10.0, 100.0]) / 6)
        assert torch.equal(resumed, mean)
