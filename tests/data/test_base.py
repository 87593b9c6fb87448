import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.loaders import ViewBatches, fit_square
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.sampler import EpochSampler
from pcfrl_lightning.data.views.base import VIEW_NAMES
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.errors import DataError


class Noise(FaceData):
    """Random images; a pixel of its own in each."""

    name = "noise"

    def build(self):
        rng = np.random.default_rng(0)
        return {
            split: FaceSet(
                ArraySource(rng.integers(0, 256, (n, 24, 20, 3), dtype=np.uint8)),
                {"expression": torch.arange(n)},
                name=f"noise/{split}",
            )
            for split, n in (("train", 30), ("test", 7))
        }


class Recorder(L.LightningModule):
    """Remembers what it is trained on."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: dict[int, list[float]] = {}

    def training_step(self, batch, _):
        assert set(batch) == set(VIEW_NAMES)
        assert all(view.dtype == torch.float32 and view.min() >= 0 and view.max() <= 1 for view in batch.values())
        self.seen.setdefault(self.current_epoch, []).append(float(sum(view.double().sum() for view in batch.values())))
        return self.layer(torch.ones(1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def make(**options) -> Noise:
    return Noise("nowhere", **{"views": AlbumentationsViews(16), "image_size": 16, "batch_size": 8, **options})


def trainer(tmp_path, epochs: int, **options) -> L.Trainer:
    return L.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **options,
    )  # fmt: skip


def epoch_of(data: Noise, epoch: int) -> list[dict[str, torch.Tensor]]:
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_batches_depend_on_seed_and_epoch_and_not_on_the_workers():
    alone, two = epoch_of(make(num_workers=0), 3), epoch_of(make(num_workers=2), 3)
    assert len(alone) == 3  # whole batches only
    for first, second in zip(alone, two, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in VIEW_NAMES)
    assert not torch.equal(alone[0]["face_1"], epoch_of(make(num_workers=0), 4)[0]["face_1"])
    assert not torch.equal(alone[0]["face_1"], epoch_of(make(num_workers=0, seed=1), 3)[0]["face_1"])


class Drawn(AlbumentationsViews):
    """Device views that keep what they were given, and one number drawn."""

    def batch(self, batch, keys, generator):
        drawn = torch.rand(1, generator=generator)
        return super().batch({**batch}, keys, generator) | {"keys": keys, "drawn": drawn}


def drawn(data: Noise, epochs=(0, 1)) -> dict[tuple[int, ...], float]:
    batches = [data.on_after_batch_transfer(batch, 0) for epoch in epochs for batch in epoch_of(data, epoch)]
    return {tuple(batch["keys"].flatten().tolist()): float(batch["drawn"]) for batch in batches}


def test_device_views_get_the_keys_and_a_generator_of_their_own_for_every_batch():
    alone = drawn(make(views=Drawn(16), num_workers=0))
    assert alone == drawn(make(views=Drawn(16), num_workers=2))
    assert len(set(alone.values())) == 6
    assert sorted(alone)[0][::2] == (0,) * 8
    assert {index for keys in alone if keys[0] == 1 for index in keys[1::2]} <= set(range(30))
    assert not set(alone.values()) & set(drawn(make(views=Drawn(16), num_workers=0, seed=1)).values())


def test_ranks_draw_different_numbers_on_the_device():
    data = make(views=Drawn(16), num_workers=0)
    numbers = set()
    for rank in range(2):
        sampler = EpochSampler(range(30), replicas=2, rank=rank)
        batch = ViewBatches(data.splits["train"], data.views, 0).__getitems__(list(sampler)[:8])
        numbers.add(float(data.on_after_batch_transfer(batch, 0)["drawn"]))
    assert len(numbers) == 2


def test_plain_indices_are_keys_of_epoch_0():
    data = make(num_workers=0)
    batches = ViewBatches(data.splits["train"], data.views, 0)
    first, second = batches.__getitems__([3, 4]), batches.__getitems__([(0, 3), (0, 4)])
    assert all(torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])) for name in first)


def test_views_of_the_same_images_follow_the_seed():
    data = make(views=Drawn(16), num_workers=0)
    first, again, other = (
        data.on_after_batch_transfer(ViewBatches(data.splits["train"], data.views, seed).__getitems__([3, 4]), 0)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first["face_1"], again["face_1"])
    assert not torch.equal(first["face_1"], other["face_1"])
    assert first["drawn"] == again["drawn"] != other["drawn"]


def test_no_augmentation_repeats_in_another_worker_or_epoch():
    class Same(Noise):
        def build(self):
            return {
                "train": FaceSet(
                    ArraySource(np.random.default_rng(0).integers(0, 256, (1, 32, 32), np.uint8).repeat(16, 0))
                )
            }

    data = Same("nowhere", AlbumentationsViews(16), 16, 4, num_workers=2)
    views = [view for epoch in range(3) for batch in epoch_of(data, epoch) for view in batch["face_1"]]
    assert len({view.numpy().tobytes() for view in views}) == 3 * 16


def test_lightning_advances_the_epoch_and_resumes_with_the_same_views(tmp_path):
    whole = Recorder()
    trainer(tmp_path, 4).fit(whole, make(num_workers=0))
    assert [len(whole.seen[epoch]) for epoch in range(4)] == [3] * 4
    assert len({value for values in whole.seen.values() for value in values}) == 12
    first = trainer(tmp_path / "half", 2)
    first.fit(Recorder(), make(num_workers=2))
    first.save_checkpoint(tmp_path / "half.ckpt")
    rest = Recorder()
    trainer(tmp_path, 4).fit(rest, make(num_workers=2), ckpt_path=tmp_path / "half.ckpt")
    assert rest.seen == {epoch: whole.seen[epoch] for epoch in (2, 3)}


def test_ranks_see_different_images_and_equally_many():
    parts = []
    for rank in range(4):
        sampler = EpochSampler(range(30), replicas=4, rank=rank, seed=1)
        sampler.set_epoch(5)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == 7
    together = [item for part in parts for item in part]
    assert {epoch for epoch, _ in together} == {5}
    assert len(set(together)) == 28


def test_the_order_follows_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        return [index for _, index in EpochSampler(range(30), seed=seed, epoch=epoch)]

    assert order(0, 2) == order(0, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in (0, 2)}) == 4
    assert sorted(order(1, 2)) == list(range(30))


def test_image_batches_keep_order_and_rows():
    data = make(views=None, num_workers=0, batch_size=3)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[0]["image"].shape == (3, 3, 16, 16)
    assert batches[0]["image"].dtype == torch.uint8
    expected = fit_square(data.splits["test"].image(4), 16)
    np.testing.assert_array_equal(batches[1]["image"][1].permute(1, 2, 0).numpy(), expected)
    assert data.on_after_batch_transfer(batches[0], 0) is batches[0]
    assert [len(batch["index"]) for batch in data.train_dataloader()] == [3] * 10
    assert data.val_dataloader() == []


def test_views_leave_the_other_loaders_alone():
    data = make(num_workers=0)
    batch = next(iter(data.test_dataloader()))
    assert set(batch) == {"image", "index"}
    assert data.on_after_batch_transfer(batch, 0) is batch
    assert set(next(iter(data.image_loader("train")))) == {"image", "index"}
    with pytest.raises(DataError, match="no split 'val', only test, train"):
        data.image_loader("val")


def test_features_take_the_place_of_images(tmp_path):
    class Probe(Recorder):
        def training_step(self, batch, _):
            self.seen.setdefault(0, []).append(batch["feature"].item())
            return self.layer(torch.ones(1)).sum()

    data = make(views=None, batch_size=1)
    data.build = None  # images are not touched
    data.use_features(
        {"train": DataLoader([{"feature": torch.tensor(value)} for value in (1.0, 2.0)], batch_size=None)}
    )
    probe = Probe()
    trainer(tmp_path, 1).fit(probe, data)
    assert probe.seen == {0: [1.0, 2.0]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"batch_size": 0, "views": None}, "batch_size must be at least 1"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"image_size": 32}, r"image_size is 32 but views\.image_size is 16"),
    ],
)
def test_bad_arguments_are_refused_before_data_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_fewer_images_than_a_batch():
    with pytest.raises(DataError, match=r"noise/train: 30 training images.*batch_size to at most 30"):
        make(batch_size=31).setup("fit")


def test_fit_square_cuts_the_centre_and_does_not_alias():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 255
    assert fit_square(image, 20).min() == 255
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = fit_square(stripes, 8)
    assert 126 <= shrunk.min() <= shrunk.max() <= 129
    assert fit_square(image, 100).shape == (100, 100, 3)
