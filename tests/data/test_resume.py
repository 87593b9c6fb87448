"""A run resumed inside an epoch ends with the weights of the uninterrupted run, bit by bit."""

from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from pcfrl_lightning.callbacks import Throughput
from pcfrl_lightning.errors import UsageError
from tiny import TinyFaces, tiny_model, trainer


class Watch(L.Callback):
    """Notes the batches trained on, by the keys of their images, and the epochs that end."""

    def __init__(self):
        self.batches: list[tuple[int, ...]] = []
        self.ended: list[int] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(trainer.datamodule.keys)

    def on_train_epoch_end(self, trainer, pl_module):
        self.ended.append(trainer.current_epoch)


class Faces(TinyFaces):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.keys = tuple(batch["keys"].flatten().tolist())
        return super().on_after_batch_transfer(batch, dataloader_idx)


def fit(
    folder: Path, resumed: Path | None = None, workers: int = 0, batch_size: int = 4, seed: int = 0, **options
) -> Watch:
    """Train on 20 images an epoch and process; a checkpoint after every step (`step=3`) and epoch (`end=0`)."""
    watch = Watch()
    steps = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    ends = ModelCheckpoint(folder, "end={epoch}", every_n_epochs=1, save_top_k=-1, auto_insert_metric_name=False)
    callbacks = [watch, steps, ends, Throughput()]
    run = trainer(folder, enable_checkpointing=True, callbacks=callbacks, **{"max_epochs": 2, **options})
    data = Faces(20 * run.num_devices, batch_size=batch_size, num_workers=workers, seed=seed)
    run.fit(tiny_model(), data, ckpt_path=resumed)
    run.save_checkpoint(folder / "final.ckpt")
    return watch


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "final.ckpt", weights_only=True)["state_dict"]


def assert_same(first: Path, second: Path, parameters_only: bool = False) -> None:
    expected, found = weights(first), weights(second)
    assert expected.keys() == found.keys()
    names = dict(tiny_model().named_parameters()) if parameters_only else expected
    assert [name for name in names if not torch.equal(expected[name], found[name])] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Watch]:
    folder = tmp_path_factory.mktemp("whole")
    watch = fit(folder)
    assert len(set(watch.batches)) == 10
    return folder, watch


@pytest.mark.parametrize(("name", "trained", "workers"), [("step=3", 3, 0), ("step=2", 2, 2), ("end=0", 5, 0)])
def test_a_resumed_run_continues_at_the_next_batch(whole, tmp_path, name, trained, workers):
    folder, watch = whole
    resumed = fit(tmp_path, folder / f"{name}.ckpt", workers)
    assert resumed.batches == watch.batches[trained:]
    assert_same(folder, tmp_path)
    saved = torch.load(tmp_path / "final.ckpt", weights_only=True)
    assert saved["callbacks"]["Throughput"] == {"images_seen": 40}


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"batch_size": 5}, "images per step of all processes 4 there and 5"), ({"seed": 1}, "seed 0")],
)
def test_inside_an_epoch_another_order_is_refused_and_from_its_end_it_is_not(whole, tmp_path, changed, told):
    folder, _ = whole
    with pytest.raises(UsageError, match=told):
        fit(tmp_path / "inside", folder / "step=3.ckpt", **changed)
    resumed = fit(tmp_path / "end", folder / "end=0.ckpt", **changed)
    assert sum(map(len, resumed.batches)) == 2 * 20  # (epoch, index) of every image


def test_after_the_last_batch_of_an_epoch_its_end_comes_first_and_the_next_resume_is_exact(whole, tmp_path):
    folder, watch = whole
    resumed = fit(tmp_path / "first", folder / "step=5.ckpt")
    assert (resumed.batches, resumed.ended) == (watch.batches[5:], [0, 1])
    assert_same(folder, tmp_path / "first")
    again = fit(tmp_path / "second", tmp_path / "first" / "step=7.ckpt")
    assert again.batches == watch.batches[7:]
    assert_same(folder, tmp_path / "second")


def test_a_run_bounded_by_steps(tmp_path):
    whole = fit(tmp_path / "whole", max_epochs=-1, max_steps=12)
    for name, trained in (("end=1", 10), ("step=7", 7)):
        resumed = fit(tmp_path / name, tmp_path / "whole" / f"{name}.ckpt", max_epochs=-1, max_steps=12)
        assert resumed.batches == whole.batches[trained:]
        assert_same(tmp_path / "whole", tmp_path / name)


@pytest.mark.parametrize("limit", [3, 0.6])
def test_after_the_last_batch_of_an_epoch_that_is_cut_short(tmp_path, limit):
    whole = fit(tmp_path / "whole", limit_train_batches=limit)
    for step in (2, 3):
        resumed = fit(tmp_path / str(step), tmp_path / "whole" / f"step={step}.ckpt", limit_train_batches=limit)
        assert (resumed.batches, resumed.ended) == (whole.batches[step:], [0, 1])
        assert_same(tmp_path / "whole", tmp_path / str(step))


def test_the_batches_of_an_unfinished_step_are_trained_on_again(tmp_path):
    class Interrupted(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / f"batch={batch_idx + 1}.ckpt")

    options = {"accumulate_grad_batches": 2}
    folder = tmp_path / "whole"
    run = trainer(folder, max_epochs=2, callbacks=[watch := Watch(), Interrupted()], **options)
    run.fit(tiny_model(), Faces(20, batch_size=4))
    run.save_checkpoint(folder / "final.ckpt")
    for batch, again in ((2, 2), (3, 2)):  # the second is in the middle of a step
        resumed = fit(tmp_path / str(batch), tmp_path / f"batch={batch}.ckpt", **options)
        assert resumed.batches == watch.batches[5 + again :]
        # batch statistics saved inside a step have seen its first batch already
        assert_same(folder, tmp_path / str(batch), parameters_only=batch != again)


def test_two_ranks(tmp_path):
    options = {"devices": 2, "max_epochs": 1}
    fit(tmp_path / "whole", strategy=DDPStrategy(process_group_backend="gloo", start_method="fork"), **options)
    fit(
        tmp_path / "again",
        tmp_path / "whole" / "step=2.ckpt",
        strategy=DDPStrategy(process_group_backend="gloo", start_method="fork"),
        **options,
    )
    assert_same(tmp_path / "whole", tmp_path / "again")


def test_overfit_batches_trains_on_the_same_batches_in_every_epoch(tmp_path):
    watch = fit(tmp_path, overfit_batches=2)
    assert watch.batches == 2 * watch.batches[:2]
    assert len(set(watch.batches)) == 2
