import json
import re

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from pcfrl_lightning import PCFRL, load_encoder
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks import (
    FaceBackbone,
    PCFRLNetwork,
    TimmBackbone,
    TimmEncoder,
    TorchvisionEncoder,
    encoder,
    encoder_identity,
    untrained_encoder,
)
from pcfrl_lightning.networks.pcl_import import PCL_TO_PCFRL, import_pcl


def small(**kwargs):
    torch.manual_seed(0)
    return PCFRL(FaceBackbone(0.0625), **{"image_size": 32, "projection_dim": 8, **kwargs})


def write(path, module, **entries):
    """A checkpoint as ``fit`` writes it."""
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint | entries, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write(tmp_path_factory.mktemp("encoder") / "last.ckpt", small())


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class TestFeatures:
    def test_names_types_and_sizes(self, checkpoint, images):
        encoder = load_encoder(checkpoint)
        features = encoder.features(images)
        assert list(features) == ["f_s", "f_f", "f_p"]
        assert {(value.shape, value.dtype) for value in features.values()} == {((3, 8 * 3 * 3), torch.float32)}
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        torch.testing.assert_close(tuple(features.values()), tuple(encoder.encode(images / 255)))

    def test_bytes_and_floats_give_identical_features(self, checkpoint, images):
        encoder = load_encoder(checkpoint)
        expected = encoder.features(images)
        for floats in (images.float() / 255, (images.double() / 255).float()):
            for name, value in encoder.features(floats).items():
                assert torch.equal(value, expected[name])

    def test_grey_images_are_repeated(self, checkpoint, images):
        encoder, grey = load_encoder(checkpoint), images[:, :1]
        assert torch.equal(encoder.features(grey)["f_p"], encoder.features(grey.repeat(1, 3, 1, 1))["f_p"])

    def test_half_precision_encoder_gives_float32(self, checkpoint, images):
        encoder = load_encoder(checkpoint).to(torch.bfloat16)
        assert encoder.features(images)["f_s"].dtype == torch.float32

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (torch.zeros(3, 32, 32), r"got shape \(3, 32, 32\)"),
            (torch.zeros(1, 4, 32, 32), r"got shape \(1, 4, 32, 32\)"),
            (torch.zeros(1, 32, 32, 3), r"got shape \(1, 32, 32, 3\)"),
            (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "got dtype int64"),
            (torch.full((1, 3, 32, 32), 255.0), "got floats from 255 to 255"),
            (torch.full((1, 3, 32, 32), -0.5), "got floats from -0.5 to -0.5"),
            (torch.full((1, 3, 32, 32), float("nan")), "got floats from nan to nan"),
            (torch.zeros(1, 3, 32, 32).numpy(), "got ndarray, not a torch tensor"),
            (torch.zeros(1, 3, 8, 8), "8 x 8 px: sides must be 16 px or more"),
        ],
    )
    def test_everything_else_is_refused_in_a_line(self, checkpoint, given, message):
        with pytest.raises(ValueError, match=message) as error:
            load_encoder(checkpoint).features(given)
        assert "\n" not in str(error.value)

    def test_rounding_errors_of_a_resize_are_taken(self, checkpoint):
        load_encoder(checkpoint).features(torch.full((1, 3, 32, 32), 1 + 1e-6))


class TestFiles:
    def test_folder_and_safetensors_restore_the_same_features(self, checkpoint, images, tmp_path):
        encoder = load_encoder(checkpoint)
        folder = encoder.save(tmp_path / "a" / "exported")
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        for source in (folder, str(folder), folder / "model.safetensors"):
            again = load_encoder(source)
            for name, value in again.features(images).items():
                assert torch.equal(value, encoder.features(images)[name])
            assert encoder_identity(again) == encoder_identity(checkpoint)
        load_encoder(folder).save(folder)
        assert torch.equal(load_encoder(folder).features(images)["f_s"], encoder.features(images)["f_s"])

    def test_config_is_plain_json_and_enough_to_rebuild(self, checkpoint, tmp_path):
        config = json.loads((load_encoder(checkpoint).save(tmp_path) / "config.json").read_text())
        assert config["format"] == 1
        assert config["class"].endswith(".PCFRLNetwork")
        assert config["init_args"]["backbone"]["init_args"] == {"width": 0.0625}
        assert (config["image_size"], config["features"]) == (32, ["f_s", "f_f", "f_p"])

    def test_identity_stands_for_weights_and_settings(self, checkpoint):
        encoder = load_encoder(checkpoint)
        identities = {encoder_identity(encoder), encoder_identity(untrained_encoder(checkpoint, 5))}
        encoder.backbone.stem[0][0].bias[0] += 1
        identities.add(encoder_identity(encoder))
        encoder.image_size = 31  # the same weights
        identities.add(encoder_identity(encoder))
        assert len(identities) == 4

    def test_loading_and_untrained_leave_the_random_state_alone(self, checkpoint):
        torch.manual_seed(3)
        before = torch.random.get_rng_state()
        load_encoder(checkpoint)
        untrained_encoder(checkpoint, 5)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_untrained_follows_the_seed_and_the_architecture(self, checkpoint):
        zero, again, one = (untrained_encoder(checkpoint, seed) for seed in (0, 0, 1))
        torch.manual_seed(0)
        expected = PCFRLNetwork(FaceBackbone(0.0625), 32, 8).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in zero.state_dict().items())
        assert encoder_identity(zero) == encoder_identity(again) != encoder_identity(one)
        assert untrained_encoder(None, 0).backbone.width == 1.0

    def test_old_layout_without_encoder_entry(self, images, tmp_path):
        module = small()
        settings = {
            "backbone": {"class_path": "pcfrl_lightning.nn.backbone.FaceBackbone", "init_args": {"width": 0.0625}},
            "face_contrast": {
                "class_path": "pcfrl_lightning.contrast.head.CalibratedContrast",
                "init_args": {
                    "calibrator": {"class_path": "pcfrl_lightning.contrast.NoCalibration", "init_args": {}},
                    "pair_term": {"class_path": "pcfrl_lightning.contrast.pair_terms.Eq7", "init_args": {"beta": 0.5}},
                },
            },
            "pose_contrast": None,
            "image_size": 32,
            "projection_dim": 8,
            "_instantiator": "lightning.pytorch.cli.instantiate_module",
        }
        torch.save({"state_dict": module.state_dict(), "hyper_parameters": settings}, tmp_path / "old.ckpt")
        expected = module.eval().network.features(images)["f_s"]
        torch.testing.assert_close(load_encoder(tmp_path / "old.ckpt").features(images)["f_s"], expected)
        loaded = PCFRL.load_from_checkpoint(tmp_path / "old.ckpt").eval()
        torch.testing.assert_close(loaded.network.features(images)["f_s"], expected)
        assert loaded.face_contrast.pair_term.beta == 0.5

    def test_file_of_import_pcl_loads_as_method_and_as_encoder(self, images, tmp_path):
        ours = PCFRLNetwork().state_dict()
        state = {f"_orig_mod.module.{theirs}": ours[key] for theirs, key in PCL_TO_PCFRL.items()}
        torch.save(state, tmp_path / "pcl.pth")
        import_pcl(tmp_path / "pcl.pth", tmp_path / "pcl.ckpt")
        method = PCFRL.load_from_checkpoint(tmp_path / "pcl.ckpt").eval()
        expected = load_encoder(tmp_path / "pcl.ckpt").features(images)["f_f"]
        torch.testing.assert_close(method.network.features(images)["f_f"], expected)

    def test_damaged_exports_are_refused_in_a_line(self, checkpoint, tmp_path):
        encoder = load_encoder(checkpoint)
        folder = encoder.save(tmp_path / "whole")
        content = (folder / "model.safetensors").read_bytes()

        def refused(message, kind=DataError):
            with pytest.raises(kind, match=message) as error:
                load_encoder(folder)
            assert "\n" not in str(error.value)

        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
        refused(r"model\.safetensors is not a file of plain tensors, or is damaged")
        (folder / "model.safetensors").write_bytes(b"hello")
        refused(r"model\.safetensors is not a file of plain tensors, or is damaged")
        save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
        refused(r"model\.safetensors does not hold the network it describes: missing backbone")
        (folder / "model.safetensors").unlink()
        refused(r"model\.safetensors does not exist", FileNotFoundError)
        (folder / "model.safetensors").write_bytes(content)
        good = (folder / "config.json").read_text()
        for text, message in [
            ("{", r"config\.json is not JSON"),
            ("[" * 10**5, r"config\.json is not JSON"),
            ("9" * 10**4, r"config\.json is not JSON"),
            ("[]", r"config\.json: .*class and init_args"),
            (good.replace('"format": 1', '"format": 2'), r"config\.json: format 2 is unknown"),
            (good.replace('"format": 1', '"formats": 1'), r"config\.json: .*unknown keys: formats"),
            (good.replace('"width"', '"depth"'), r"does not hold .*depth"),
            (good.replace("PCFRLNetwork", "FaceBackbone"), "is not an Encoder"),
            (re.sub(r'"class": "[\w.]+"', '"class": 7', good), "class_path must be the name of a class, got int"),
        ]:
            (folder / "config.json").write_text(text)
            refused(message)
        (folder / "config.json").unlink()
        refused(r"config\.json does not exist", FileNotFoundError)

    def test_weights_only_go_with_a_library(self, checkpoint):
        with pytest.raises(ValueError, match=r"weights \(--weights\) go with timm:NAME"):
            load_encoder(checkpoint, weights=checkpoint)


class TestLibraries:
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_timm_from_a_file(self, tmp_path, images, suffix):
        timm = pytest.importorskip("timm")
        torch.manual_seed(0)
        model = timm.create_model("resnet10t", num_classes=5).eval()
        state, path = model.state_dict(), tmp_path / f"resnet{suffix}"
        save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
        encoder = load_encoder("timm:resnet10t", weights=path)
        mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
        with torch.no_grad():
            expected = model.forward_head(model.forward_features((images / 255 - mean) / std), pre_logits=True)
        torch.testing.assert_close(encoder.features(images), {"f_s": expected})
        assert encoder.config["init_args"]["mean"] == list(model.pretrained_cfg["mean"])
        again = load_encoder(encoder.save(tmp_path / "exported"))
        assert torch.equal(again.features(images)["f_s"], encoder.features(images)["f_s"])

    def test_timm_transformer_takes_sizes_that_its_patches_divide(self, tmp_path):
        timm = pytest.importorskip("timm")
        model = timm.create_model("vit_tiny_patch16_224")
        torch.save(model.state_dict(), tmp_path / "vit.pth")
        encoder = load_encoder("timm:vit_tiny_patch16_224", weights=tmp_path / "vit.pth")
        assert encoder.image_size == 224
        assert encoder.features(torch.zeros(1, 1, 64, 96))["f_s"].shape == (1, 192)
        with pytest.raises(ValueError, match=r"cannot take images of 100 x 100 px \(it was made for 224\)"):
            encoder.features(torch.zeros(1, 3, 100, 100))

    def test_torchvision_from_a_file(self, tmp_path, images):
        torch.manual_seed(0)
        model = torchvision.models.resnet18().eval()
        torch.save(model.state_dict(), tmp_path / "resnet.pth")
        encoder = load_encoder("torchvision:resnet18", weights=tmp_path / "resnet.pth")
        model.fc = nn.Identity()
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        with torch.no_grad():
            expected = model((images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        torch.testing.assert_close(encoder.features(images), {"f_s": expected})
        assert (encoder.image_size, encoder.config["init_args"]["model_name"]) == (224, "resnet18")

    def test_other_files_are_refused_in_a_line(self, tmp_path):
        state = torchvision.models.resnet18().state_dict()
        del state["layer1.0.conv1.weight"]
        torch.save(state | {"extra.weight": torch.zeros(1)}, tmp_path / "part.pth")
        torch.save([1], tmp_path / "list.pth")
        for name, message in [
            ("part.pth", r"part\.pth does not hold torchvision:resnet18: missing layer1.*unexpected extra\.weight"),
            ("list.pth", r"list\.pth: expected a state dict"),
        ]:
            with pytest.raises(DataError, match=message):
                load_encoder("torchvision:resnet18", weights=tmp_path / name)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            load_encoder("torchvision:resnet18", weights=tmp_path / "nowhere.pth")

    def test_unknown_names(self):
        pytest.importorskip("timm")
        for source in ("timm:nosuchmodel", "timm:hf-hub:some/one", "torchvision:nosuchmodel", "torchvision:raft_large"):
            with pytest.raises(ValueError, match=re.escape(source.partition(":")[2])):
                load_encoder(source)

    @pytest.mark.parametrize("source", ["timm:resnet10t", "torchvision:resnet18"])
    def test_a_failed_download_names_the_way_out(self, monkeypatch, source):
        pytest.importorskip("timm")

        def offline(self):
            raise OSError("no route to host\nretry")

        monkeypatch.setattr(TimmEncoder, "_download", offline)
        monkeypatch.setattr(TorchvisionEncoder, "_download", offline)
        with pytest.raises(ValueError, match=r"could not be downloaded \(no route to host retry\).*weights=FILE"):
            load_encoder(source)
        first, second = untrained_encoder(source, 0), untrained_encoder(source, 1)  # no download
        assert encoder_identity(first) != encoder_identity(second)

    def test_pretrained_backbone_is_rebuilt_without_a_download_and_untrained_is_untrained(
        self, monkeypatch, tmp_path, images
    ):
        timm = pytest.importorskip("timm")
        create, downloads = timm.create_model, []

        def offline(name, pretrained=False, **kwargs):
            downloads.append(pretrained)
            return create(name, pretrained=False, **kwargs)

        monkeypatch.setattr(timm, "create_model", offline)
        torch.manual_seed(0)
        module = PCFRL(TimmBackbone("resnet10t", pretrained=True, out_index=-2), image_size=32, projection_dim=8)
        path = write(tmp_path / "last.ckpt", module)
        assert any(downloads)  # the library was asked for its weights
        downloads.clear()
        encoder, untrained = load_encoder(path), untrained_encoder(path, 7)
        method = PCFRL.load_from_checkpoint(path)
        assert not any(downloads)
        expected = module.eval().network.features(images)["f_s"]
        torch.testing.assert_close(encoder.features(images)["f_s"], expected)  # normalised as before
        torch.testing.assert_close(method.eval().network.features(images)["f_s"], expected)
        trained = encoder.backbone.model.conv1[0].weight
        assert not torch.equal(untrained.backbone.model.conv1[0].weight, trained)
        assert encoder.config["init_args"]["backbone"]["init_args"]["pretrained"] is True

    def test_timm_that_cannot_be_made_on_the_meta_device(self, monkeypatch, tmp_path):
        timm = pytest.importorskip("timm")
        module = PCFRL(TimmBackbone("resnet10t", out_index=-2), image_size=32, projection_dim=8)
        path, create = write(tmp_path / "last.ckpt", module), timm.create_model

        def old(*args, **kwargs):
            if "dynamic_img_size" not in kwargs:
                torch.zeros(()).item()
            return create(*args, **kwargs)

        monkeypatch.setattr(timm, "create_model", old)
        assert load_encoder(path).backbone.model_name == "resnet10t"


@pytest.mark.parametrize(("largest", "sizes"), [(1, [16, 16, 16, 16, 16, 10]), (1e9, [16, 64, 10])])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_on_a_cpu_features_are_computed_for_a_few_images_at_once(kind, largest, sizes, monkeypatch):
    """The same as in one piece, which training, gradients and statistics of batches keep."""
    monkeypatch.setattr(encoder, "_LARGEST_OUTPUT", largest)
    network = small().network.eval()
    images = torch.randint(256, (90, 1, 32, 32), dtype=torch.uint8)
    images = images if kind is torch.uint8 else images / 255
    counts, encode = [], network.encode
    network.encode = lambda pixels: counts.append(len(pixels)) or encode(pixels)
    whole = network.features(images)
    assert counts == [90]
    with torch.no_grad():
        parts = network.features(images)
        assert counts == [90, *sizes]
        assert not any(module._forward_hooks for module in network.modules())
        assert network.features(images[:0])["f_s"].shape == (0, whole["f_s"].shape[1])
        network.train().features(images)
    assert counts[-1] == 90
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "sizes"), [(50, [16, 24, 24, 24, 12]), (25, [16, 48, 36]), (500, [16] * 6 + [4])])
def test_the_largest_output_decides_how_many_images_a_cpu_takes_at_once(channels, sizes):
    """A layer's output for 24 images, 50 channels of 32 x 32 floats, has 4.9 MB; the bar is 5 MB."""

    class Mean(encoder.Encoder):
        image_size = 32

        def __init__(self):
            super().__init__()
            self.layer, self.sizes = nn.Conv2d(3, channels, 1), []

        def encode(self, images):
            self.sizes.append(len(images))
            return (self.layer(images).mean((2, 3)),)

    network = Mean().eval()
    with torch.no_grad():
        network.features(torch.rand(100, 3, 32, 32))
    assert network.sizes == sizes


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_parts_that_take_no_hook_or_give_a_number_have_features_on_a_cpu():
    class Temperature(nn.Module):
        def forward(self):
            return torch.tensor(2.0)

    class Odd(encoder.Encoder):
        image_size = 32

        def __init__(self):
            super().__init__()
            self.layer, self.temperature = torch.jit.script(nn.Conv2d(3, 4, 1)), Temperature()

        def encode(self, images):
            return (self.layer(images) * self.temperature(),)

    network, images = Odd().eval(), torch.rand(20, 3, 32, 32)
    whole = network.features(images)["f_s"]
    with torch.no_grad():
        torch.testing.assert_close(network.features(images)["f_s"], whole)
