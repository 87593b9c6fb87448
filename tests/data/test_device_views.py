"""`DeviceViews` against `AlbumentationsViews`: the same random numbers, the same views; and the seams of a run."""

import warnings
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from drawn import Drawn
from host_syncs import HostSyncs
from pcfrl_lightning.compilation import Checked
from pcfrl_lightning.data.loaders import ViewBatches, device_views, fit_square
from pcfrl_lightning.data.sampler import EpochSampler
from pcfrl_lightning.data.views import device
from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.base import VIEW_NAMES
from pcfrl_lightning.data.views.batched import draws
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.data.views.device import DeviceViews, views_of
from pictures import noise, smooth
from tiny import TinyFaces, tiny_model, trainer

NONE = Appearance(jitter_p=0, gray_p=0, blur_p=0, sobel_p=0)


def both(views: DeviceViews, images: np.ndarray, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Views by name in levels (N, S, S, 3), of the device and of the workers, by the same random numbers."""
    batch = views.collate([views.sample(image, np.random.default_rng(0)) for image in images])
    keys, generator = torch.zeros(len(images), 2).long(), torch.Generator()
    found = views.batch(batch, keys, generator.manual_seed(seed))
    uniform = torch.rand(len(images), draws.NUMBERS, generator=generator.manual_seed(seed))
    appearance = views.appearance
    reference = AlbumentationsViews(
        views.side, appearance, views.crop_scale, views.crop_ratio, views.flip_p, views.rotation
    )
    expected = [
        reference.sample(image, Drawn(row, appearance)) for image, row in zip(images, uniform.tolist(), strict=True)
    ]
    assert tuple(found) == VIEW_NAMES
    return {
        name: ((view * 255).permute(0, 2, 3, 1).numpy(), np.stack([sample[name] for sample in expected]).astype(float))
        for name, view in found.items()
    }


@pytest.mark.parametrize(("height", "width"), [(32, 32), (60, 75), (20, 26), (32, 24)])
@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_geometry_is_that_of_the_default_views(height, width, rotation):
    """Larger and smaller than the view, square or not, turned or not."""
    views = DeviceViews(32, NONE, crop_scale=(0.3, 0.9), crop_ratio=(0.5, 1.8), flip_p=0.4, rotation=rotation)
    for name, (found, expected) in both(views, smooth(12, height, width)).items():
        assert found.shape == (12, 32, 32, 3)
        assert np.abs(found - expected).max() <= (4 if rotation else 1.2), name


def test_all_views_are_the_default_views_by_the_same_numbers():
    """Of 24 images with all changes; roundings of the workers grow where contrast and brightness do."""
    for name, (found, expected) in both(DeviceViews(32), smooth(24, 48, 40)).items():
        difference = np.abs(found - expected)
        assert difference.mean() < (0.3 if name in ("source", "target") else 1.2), name
        assert np.quantile(difference, 0.99) < 6, name


def test_views_of_grey_images_are_grey_and_those_of_the_default_views():
    images = np.repeat(smooth(24, 48, 40)[..., :1], 3, 3)
    for name, (found, expected) in both(DeviceViews(32), images).items():
        assert np.abs(found - found[..., :1]).max() < 0.01, name
        assert np.abs(found - expected).mean() < 1, name
        assert np.quantile(np.abs(found - expected), 0.99) < 6, name


def test_one_channel_stands_for_three_equal_ones():
    views = DeviceViews(16)
    grey = torch.randint(256, (4, 1, 20, 20), dtype=torch.uint8)
    uniform = torch.rand(4, draws.NUMBERS)
    one, three = (views_of(images, uniform, views) for images in (grey, grey.expand(-1, 3, -1, -1)))
    for name in VIEW_NAMES:
        assert one[name].shape == (4, 3, 16, 16)
        torch.testing.assert_close(one[name], three[name])


def test_probabilities_orders_and_strengths():
    numbers = torch.rand(3000, draws.NUMBERS, generator=torch.Generator().manual_seed(0))
    changes = draws.changes_of(numbers, Appearance())
    assert len(changes.hue) == 12000
    jittered = (changes.factors != 1).all(1)
    assert torch.equal(jittered, changes.hue != 0)
    shares = {"jitter": jittered, "grey": changes.grey, "blur": changes.blurred, "edges": changes.edges}
    for (name, happens), expected in zip(shares.items(), (0.8, 0.2, 0.8, 0.6), strict=True):
        assert happens.float().mean() == pytest.approx(expected, abs=0.02), name
    pairs = torch.stack([*shares.values(), changes.sigma > 1.05, changes.hue > 0, changes.factors[:, 0] > 1]).float()
    correlation = torch.corrcoef(pairs) - torch.eye(7)
    correlation[0, 5:] = correlation[5:, 0] = 0  # what is not jittered is not above 1
    assert correlation.abs().max() < 0.2
    orders = Counter(map(tuple, changes.rank.tolist()))
    assert set(orders) == set(permutations(range(4)))
    assert max(orders.values()) < 1.25 * min(orders.values())
    quarters = np.array([0.02, 0.25, 0.5, 0.75, 0.98])
    strengths = [*changes.factors[jittered].T, changes.hue[jittered], changes.sigma]
    for strength, (low, high) in zip(strengths, [(0.2, 1.8)] * 3 + [(-0.2, 0.2), (0.1, 2.0)], strict=True):
        np.testing.assert_allclose(np.quantile(strength, quarters), low + (high - low) * quarters, atol=0.03)


def test_boxes_have_the_distribution_of_the_default_views(monkeypatch):
    """Sides and places of 3000 crops of either side, each by numbers of its own."""
    generator, taken = np.random.default_rng(0), []
    views = AlbumentationsViews(8, crop_scale=(0.2, 0.9), crop_ratio=(0.4, 2.0))
    places = np.stack(np.mgrid[:50, :70], 2).astype(np.uint8)
    monkeypatch.setattr(AlbumentationsViews, "_resize", lambda _, part: taken.append((*part[0, 0], *part.shape[:2])))
    for _ in range(3000):
        views._random_crop(places, iter(generator.random(4).tolist()))
    numbers = torch.rand(1500, draws.NUMBERS, generator=torch.Generator().manual_seed(1))
    boxes = draws.boxes_of(numbers, 50, 70, views.crop_scale, views.crop_ratio)
    for found, expected, size in zip(boxes, np.array(taken).T, (50, 70, 50, 70), strict=True):
        assert torch.equal(found, found.round())
        quarters = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        np.testing.assert_allclose(np.quantile(found, quarters), np.quantile(expected, quarters), atol=0.05 * size)
    assert (boxes.top + boxes.height).max() == 50
    assert (boxes.left + boxes.width).max() == 70
    assert boxes.top.min() == boxes.left.min() == 0


def test_numbers_next_to_one_stay_inside_the_image():
    numbers = torch.full((1, draws.NUMBERS), 1 - 2**-24)
    for size in range(1, 1000):
        boxes = draws.boxes_of(numbers, size, size + 7, (0.1, 0.1), (1.0, 1.0))
        assert (boxes.top + boxes.height == size).all()
        assert (boxes.left + boxes.width == size + 7).all()


def test_views_have_the_moments_of_the_default_views():
    """Mean and deviation over pixels of 200 views of one image, by other numbers on either side."""
    image = smooth(1, 24, 24)[0]
    default, own = AlbumentationsViews(16), DeviceViews(16)
    samples = [default.sample(image, np.random.default_rng([0, number])) for number in range(200)]
    views = own.make([image] * 200, [(0, number) for number in range(200)])
    for name in VIEW_NAMES:
        expected = np.stack([sample[name] for sample in samples]) / 255.0
        found = views[name].permute(0, 2, 3, 1).numpy()
        for moment in (np.mean, np.std):
            one, two = (moment(view, axis=(1, 2, 3)) for view in (found, expected))
            error = np.hypot(one.std(), two.std()) / 200**0.5  # of the difference of the means
            assert abs(one.mean() - two.mean()) < 3.5 * error + 0.003, (name, moment)
            assert one.std() == pytest.approx(two.std(), rel=0.2, abs=0.003), (name, moment)


def test_crops_are_taken_from_the_source_where_all_images_have_one_size():
    views = DeviceViews(16)
    same = views.collate([views.sample(image, None) for image in noise(3, 40, 50)])["image"]
    np.testing.assert_array_equal(same.permute(0, 2, 3, 1).numpy(), noise(3, 40, 50))
    large = views.collate([views.sample(image, None) for image in noise(2, 128, 200)])["image"]
    assert large.shape == (2, 3, 64, 100)
    images = [noise(1, 40, 50)[0], noise(1, 30, 31)[0]]
    mixed = views.collate([views.sample(image, None) for image in images])["image"]
    expected = np.stack([fit_square(image, 32) for image in images])
    np.testing.assert_array_equal(mixed.permute(0, 2, 3, 1).numpy(), expected)


def test_views_of_images_of_different_sizes_look_like_the_default_views():
    images = [smooth(1, 60, 60)[0], smooth(1, 97, 97)[0], smooth(1, 75, 75)[0]]
    views = DeviceViews(24, NONE, flip_p=0)
    for name, (found, expected) in both(views, images).items():
        assert np.abs(found - expected).mean() < 4, name


def test_views_depend_on_the_generator_alone():
    views, batch = DeviceViews(16), {"image": torch.from_numpy(noise(4, 16, 16)).permute(0, 3, 1, 2)}
    one, again, other = (views.batch(batch, torch.zeros(4, 2), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in VIEW_NAMES)
    assert not torch.equal(one["face_1"], other["face_1"])
    assert not torch.equal(one["face_1"], one["face_2"])
    assert not torch.equal(one["pose_1"], one["pose_2"])
    for view in one.values():
        assert view.dtype == torch.float32
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= view.min() <= view.max() <= 1


def loaded(rank: int = 0, epoch: int = 0, seed: int = 0, skip: int = 0) -> list[torch.Tensor]:
    faces, views = TinyFaces(16).splits["train"], DeviceViews(16)
    sampler = list(EpochSampler(faces, 2, rank, seed, epoch, skip))
    batches = ViewBatches(faces, views, seed)
    return [
        device_views(views, batches.__getitems__(sampler[at : at + 2]))["face_1"] for at in range(0, len(sampler), 2)
    ]


def test_views_are_a_function_of_seed_epoch_batch_and_rank():
    first, again = loaded(), loaded()
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    others = [*loaded(rank=1), *loaded(epoch=1), *loaded(seed=1)]
    assert len({view.numpy().tobytes() for view in first + others}) == 16
    resumed = loaded(skip=4)
    assert all(torch.equal(one, two) for one, two in zip(first[2:], resumed, strict=True))


class Faces(TinyFaces):
    def __init__(self):
        super().__init__(12, batch_size=4)
        self.views = DeviceViews(32, rotation=10)


def fit(folder: Path, resumed: Path | None = None) -> dict[str, torch.Tensor]:
    steps = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(folder, enable_checkpointing=True, callbacks=[steps], max_epochs=2)
    model = tiny_model()
    run.fit(model, Faces(), ckpt_path=resumed)
    return model.state_dict()


def test_a_run_resumed_inside_an_epoch_ends_with_the_same_weights(tmp_path):
    whole = fit(tmp_path / "whole")
    resumed = fit(tmp_path / "resumed", tmp_path / "whole" / "step=4.ckpt")
    assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []


@pytest.mark.parametrize("rotation", [0.0, 10.0])
def test_nothing_waits_for_the_device(rotation):
    views, batch = DeviceViews(16, rotation=rotation), {"image": torch.randint(256, (4, 3, 20, 18), dtype=torch.uint8)}
    generator, keys = torch.Generator().manual_seed(0), torch.zeros(4, 2)
    with HostSyncs() as syncs:
        views.batch(batch, keys, generator)
    assert syncs.found == []


def test_one_program_of_the_compiler_makes_all_views():
    recipe = DeviceViews(16, rotation=10)
    images, uniform = torch.randint(256, (4, 3, 20, 18), dtype=torch.uint8), torch.rand(4, draws.NUMBERS)
    program = torch.compile(views_of, fullgraph=True, backend="aot_eager")
    found, expected = program(images, uniform, recipe), views_of(images, uniform, recipe)
    for name in VIEW_NAMES:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)
        assert found[name].is_contiguous(memory_format=torch.channels_last)


def test_without_a_compiler_views_are_made_all_the_same(monkeypatch):
    def fails(*_):
        raise RuntimeError("no C compiler\nsecond line")

    batch = {"image": torch.randint(256, (4, 3, 20, 18), dtype=torch.uint8)}
    program = Checked(views_of, fails, "DeviceViews", "--data.views.compiled false")
    monkeypatch.setattr(device, "_program", lambda: program)
    views, keys = DeviceViews(16, compiled=True), torch.zeros(4, 2)
    told = r"torch.compile of DeviceViews is not used: no C compiler second line \(--data.views.compiled false does"
    with pytest.warns(UserWarning, match=told):
        found = views.batch(batch, keys, torch.Generator().manual_seed(0))
    expected = DeviceViews(16).batch(batch, keys, torch.Generator().manual_seed(0))
    assert all(torch.equal(found[name], expected[name]) for name in VIEW_NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # not tried again
        views.batch(batch, keys, torch.Generator())


def test_the_program_is_used_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(device, "_program", lambda: lambda images, uniform, recipe: {"asked": recipe})
    batch, keys = {"image": torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)}, torch.zeros(4, 2)
    assert "asked" in DeviceViews(16, compiled=True).batch(batch, keys, torch.Generator())
    assert "asked" not in DeviceViews(16).batch(batch, keys, torch.Generator())  # on the CPU


def test_arguments_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"views.crop_scale must be two rising numbers"):
        DeviceViews(crop_scale=(0.5, 1.5))
