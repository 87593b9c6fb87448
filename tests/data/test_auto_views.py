"""Who makes the default views: the workers of the loader, or on a GPU the device."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from pcfrl_lightning.data import AlbumentationsViews, AutoViews, DeviceViews, FaceData, FaceFolder
from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.base import VIEW_NAMES
from pictures import noise
from tiny import TinyFaces, tiny_model, trainer

CONFIGS = Path(__file__).parents[2] / "configs"
CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
MILD = Appearance(brightness=0.1)


def made(views: AlbumentationsViews) -> dict[str, torch.Tensor]:
    return views.make(list(noise(3)), [(1, number) for number in range(3)])


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert [name for name in VIEW_NAMES if not torch.equal(found[name], expected[name])] == []


def test_they_are_those_of_the_workers_until_training_is_on_a_gpu():
    views, arguments = AutoViews(16, MILD, (0.5, 0.6), (1.0, 1.1), 0.3, 5.0), (MILD, (0.5, 0.6), (1.0, 1.1), 0.3, 5.0)
    workers, device = AlbumentationsViews(16, *arguments), DeviceViews(16, *arguments)
    assert_same(made(views), made(workers))
    told = views.use_device(CUDA)
    assert told == "DeviceViews, as training is on cuda (the others: --data.views AlbumentationsViews)"
    assert_same(made(pickle.loads(pickle.dumps(views))), made(device))
    assert list(views.sample(noise(1)[0], np.random.default_rng(0))) == ["image"]
    assert views.use_device(CPU) == "AlbumentationsViews, as training is on cpu (the others: --data.views DeviceViews)"
    assert_same(made(views), made(workers))


def test_own_transforms_are_made_by_the_workers_also_on_a_gpu():
    own = {"face_transforms": ["albumentations.VerticalFlip"]}
    views = AutoViews(16, MILD, **own)
    assert views.use_device(CUDA) == "AlbumentationsViews, which alone take own transforms"
    assert_same(made(views), made(AlbumentationsViews(16, MILD, **own)))


def test_they_are_the_default_of_data_without_labels(tmp_path):
    assert type(FaceFolder(tmp_path).views) is AutoViews


def test_the_device_that_trains_is_told_and_the_log_has_a_line(tmp_path, caplog):
    class Asked(AutoViews):
        told: list[torch.device]

        def use_device(self, device: torch.device) -> str:
            self.told = [device]
            return super().use_device(device)

    data = TinyFaces(8, batch_size=4)
    data.views = Asked(32)
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        trainer(tmp_path, max_steps=1).fit(tiny_model(), data)
    assert data.views.told == [CPU]
    lines = [line for line in caplog.messages if line.startswith("views: ")]
    assert lines == ["views: AlbumentationsViews, as training is on cpu (the others: --data.views DeviceViews)"]


def test_views_of_one_kind_say_their_name():
    assert DeviceViews(16).use_device(CPU) == "DeviceViews"


def parsed(root: Path, *arguments: str) -> FaceData:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(FaceData, "data")
    arguments = ("--data=pcfrl_lightning.data.FaceFolder", f"--data.root={root}", *arguments)
    return parser.instantiate_classes(parser.parse_args(list(arguments))).data


def test_one_key_switches_and_keeps_the_other_settings(tmp_path):
    (tmp_path / "mild.yaml").write_text(
        "data: {init_args: {views: {class_path: pcfrl_lightning.data.AutoViews, "
        "init_args: {crop_scale: [0.25, 1.0], appearance: {sobel_p: 0.1}}}}}"
    )
    mild = f"--config={tmp_path / 'mild.yaml'}"
    for kind, arguments in (
        (AutoViews, []),
        (AlbumentationsViews, ["--data.views=pcfrl_lightning.data.AlbumentationsViews"]),
        (DeviceViews, ["--data.views=pcfrl_lightning.data.DeviceViews"]),
        (DeviceViews, [f"--config={CONFIGS / 'views/device.yaml'}"]),
    ):
        views = parsed(tmp_path, mild, *arguments).views
        assert type(views) is kind
        assert (tuple(views.crop_scale), views.appearance.sobel_p) == ((0.25, 1.0), 0.1)


@pytest.mark.parametrize("name", ["experiment/fer2013.yaml", "experiment/voxceleb.yaml", "pretrain.yaml"])
def test_shipped_configs_leave_the_choice_to_the_device(name):
    assert "AutoViews" in (CONFIGS / name).read_text()
