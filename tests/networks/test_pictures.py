"""`Encoder.embed` and `swap_pose`: pictures of any size and kind to features and to other pictures."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning import load_encoder
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks import TorchvisionEncoder
from pcfrl_lightning.networks.stored import checkpoint_of
from tiny import tiny_model


@pytest.fixture
def model():
    """A method whose normalisation layers have statistics of their own, in training mode."""
    model = tiny_model()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    return model.train()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    arrays = [generator.integers(0, 256, (40 + 9 * i, 50, 3), dtype=np.uint8) for i in range(5)]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number}.png")
    return arrays, sorted(folder.iterdir())


def test_files_arrays_tensors_and_pillow_images_give_the_features_of_their_squares(model, photos):
    arrays, paths = photos
    squares = torch.from_numpy(np.stack([fit_square(array, 100) for array in arrays])).permute(0, 3, 1, 2)
    network = model.network.eval()
    expected = {name: value.detach() for name, value in network.features(squares).items()}
    mixed = [paths[0], arrays[1], torch.from_numpy(arrays[2]).permute(2, 0, 1), Image.fromarray(arrays[3]), paths[4]]
    network.train()
    for given in (paths, arrays, map(str, paths), mixed):
        found = network.embed(given, batch_size=2)
        assert list(found) == ["f_s", "f_f", "f_p"]
        for name, value in found.items():
            assert value.dtype == np.float32
            torch.testing.assert_close(torch.from_numpy(value), expected[name], atol=1e-5, rtol=1e-4)
    assert network.training


def test_one_picture_a_stack_and_grey_ones(model):
    stack = torch.rand(3, 3, 40, 40)
    found = model.network.embed(stack, image_size=40)["f_s"]
    np.testing.assert_allclose(model.network.embed(stack[1], image_size=40)["f_s"][0], found[1], atol=1e-5)
    grey = np.full((40, 40), 77, np.uint8)
    same = np.repeat(grey[:, :, None], 3, axis=2)
    assert np.array_equal(model.network.embed(grey)["f_p"], model.network.embed(same)["f_p"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no pictures"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((3, 8, 8), np.uint8)], r"picture 1 has shape \(3, 8, 8\)"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"picture 0 has shape \(8, 8, 3\)"),
        (np.full((8, 8, 3), 200.0), "picture 0 is not uint8 and not float in"),
        (torch.zeros(1, 8, 8, dtype=torch.int64), "int64"),
        ("absent.png", "absent.png: No such file"),
    ],
)
def test_what_is_no_picture_is_named(model, given, words):
    with pytest.raises(ValueError, match=words):
        model.network.embed(given)


def test_a_damaged_file_is_named(model, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.jpg: not an image"):
        model.network.embed([tmp_path / "bad.jpg"])


def test_a_model_of_a_library_gets_its_own_size(photos):
    torch.manual_seed(0)
    encoder = TorchvisionEncoder("resnet18")
    assert encoder.embed_size == 224
    assert encoder.embed(photos[1][:2])["f_s"].shape == (2, 512)
    with pytest.raises(ValueError, match="TorchvisionEncoder has no decoder"):
        encoder.swap_pose(photos[1][0], photos[1][1])


def test_swap_pose_decodes_the_face_of_one_with_the_pose_of_the_other(model):
    faces, poses = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    swapped = model.swap_pose(faces, poses)
    assert model.network.training
    network = model.network.eval()
    with torch.no_grad():
        expected = network.reconstruct(network.encode(faces).f_f, network.encode(poses).f_p).clamp(0, 1)
    torch.testing.assert_close(swapped, expected)
    torch.testing.assert_close(
        network.swap_pose(faces, poses[1]), network.swap_pose(faces, poses[1:2].repeat(4, 1, 1, 1))
    )
    assert network.swap_pose(np.zeros((50, 70, 3), np.uint8), poses).shape == (4, 3, 32, 32)
    assert not torch.equal(swapped, model.swap_pose(faces, poses.flip(0)))
    with pytest.raises(ValueError, match="got 3 for 4"):
        network.swap_pose(faces, poses[:3])


def test_the_folder_of_a_run_stands_for_its_last_checkpoint(model, tmp_path):
    run = tmp_path / "version_0"
    with pytest.raises(FileNotFoundError, match=r"neither the config\.json of an exported encoder nor"):
        load_encoder(tmp_path)
    (run / "checkpoints").mkdir(parents=True)
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}

    def write(name, step, age):
        path = run / "checkpoints" / name
        torch.save(content | {"global_step": step}, path)
        os.utime(path, (1e9 - age, 1e9 - age))
        return path

    last, named = write("last.ckpt", 40, age=9), write("epoch=3-step=40.ckpt", 40, age=0)
    assert checkpoint_of(run) == checkpoint_of(run / "checkpoints") == last
    later = write("epoch=4-step=50.ckpt", 50, age=99)  # a clock that was set back, or a copy
    assert checkpoint_of(run) == later
    resumed = write("last-v1.ckpt", 60, age=99)
    assert checkpoint_of(run) == resumed
    (run / "checkpoints/last-v2.ckpt").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"last-v2\.ckpt is damaged"):  # older weights are not taken silently
        checkpoint_of(run)
    for path in (last, later, resumed, run / "checkpoints/last-v2.ckpt"):
        path.unlink()
    assert checkpoint_of(run) == named
    pictures = torch.rand(2, 3, 40, 40)
    assert np.array_equal(load_encoder(run).embed(pictures)["f_s"], model.network.embed(pictures)["f_s"])
