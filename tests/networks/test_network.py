import pytest
import torch
import torchvision
from torch import nn

from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork, TimmBackbone

SMALL = 0.125


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def paper_network():
    return PCFRLNetwork(FaceBackbone())


def test_parameter_counts_of_the_paper_width(paper_network):
    assert count(paper_network) == 17_262_723
    assert sum(b.numel() for b in paper_network.state_dict().values()) == 17_262_723 + 4_359
    parts = {name: count(part) for name, part in paper_network.named_children()}
    assert parts == {
        "backbone": 1_879_424,
        "face_subnet": 295_168,
        "pose_subnet": 295_168,
        "face_projector": 5_246_464,
        "pose_projector": 5_246_464,
        "decoder": 4_300_035,
    }
    trunk = paper_network.backbone
    assert count(trunk.stem) == 46_400
    assert count(trunk.layer1) == 86_336
    assert count(trunk.layer1[1]) == 12_480
    assert count(trunk.layer2) == 270_976
    assert count(trunk.layer2[1]) == 49_536
    assert [count(block) for block in trunk.residual] == [295_168, 295_168]
    assert (count(trunk.layer3), count(trunk.layer4)) == (295_168, 590_208)
    assert count(paper_network.decoder.linear) == 1_049_088


@pytest.mark.parametrize(("size", "values"), [(64, 2048), (100, 6272), (128, 8192), (256, 32768)])
def test_flat_feature_sizes_of_the_paper_width(paper_network, size, values):
    with torch.no_grad():
        features = paper_network.encode(torch.rand(1, 3, size, size))
    assert [tuple(f.shape) for f in features] == [(1, values)] * 3


def test_flat_order_is_channel_first_in_any_memory_format():
    network = PCFRLNetwork(FaceBackbone(SMALL)).eval()
    images = torch.rand(2, 3, 64, 64)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    expected = network.encode(images)
    for got, wanted in zip(network.to(memory_format=torch.channels_last).encode(channels_last), expected, strict=True):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(expected.f_s, network.backbone(images).reshape(2, -1))


@pytest.mark.parametrize("size", [16, 17, 48, 64, 96, 100, 128, 256])
def test_reconstruction_has_the_size_of_the_images(size):
    network = PCFRLNetwork(FaceBackbone(SMALL), image_size=size, projection_dim=32)
    features = network.encode(torch.rand(2, 3, size, size))
    image = network.reconstruct(features.f_f, features.f_p)
    assert image.shape == (2, 3, size, size)
    assert image.abs().max() <= 1
    assert network.project_face(features.f_f).shape == (2, 32)
    assert network.project_pose(features.f_p).shape == (2, 32)


@pytest.mark.parametrize(("width", "channels"), [(0.05, 8), (0.25, 32), (0.5, 64), (1.0, 128), (1.5, 192)])
def test_width_scales_the_channels(width, channels):
    backbone = FaceBackbone(width)
    assert backbone.out_channels == channels
    assert backbone(torch.rand(1, 3, 32, 32)).shape == (1, channels, 2, 2)


def test_decoder_never_exceeds_the_papers_channels():
    network = PCFRLNetwork(FaceBackbone(1.5), image_size=32, projection_dim=8)
    assert network.decoder.linear.out_features == 512


def test_initialisation_of_the_encoder():
    torch.manual_seed(0)
    network = PCFRLNetwork(FaceBackbone())
    for part in (network.backbone, network.face_subnet, network.pose_subnet):
        for conv in (m for m in part.modules() if isinstance(m, nn.Conv2d)):
            expected = (2 / (conv.kernel_size[0] ** 2 * conv.out_channels)) ** 0.5
            assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert conv.bias.abs().max() == 0


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    network = PCFRLNetwork(FaceBackbone(SMALL), image_size=32)
    features = network.encode(torch.rand(4, 3, 32, 32))
    image = network.reconstruct(features.f_f, features.f_p)
    z_f, z_p = network.project_face(features.f_f), network.project_pose(features.f_p)
    loss = sum((out * torch.randn_like(out)).sum() for out in (image, z_f, z_p))
    loss.backward()
    # a constant before a BatchNorm has no effect, so these biases have a zero gradient up to rounding
    before_norm = {f"decoder.blocks.{i}.conv.bias" for i in range(5)} | {
        "face_projector.2.bias",
        "pose_projector.2.bias",
    }
    before_softmax = {f"backbone.layer{i}.1.attend.bias" for i in (1, 2)}  # nor has one that a softmax takes away
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert name in before_norm | before_softmax or parameter.grad.abs().max() > 0, name


def test_zero_features_reconstruct_finitely_with_a_finite_gradient():
    network = PCFRLNetwork(FaceBackbone(SMALL))
    zeros = torch.zeros(2, network.feature_dim, requires_grad=True)
    network.reconstruct(zeros, torch.zeros_like(zeros)).sum().backward()
    assert zeros.grad.abs().max() == 0


def test_reconstruction_depends_on_the_direction_of_the_sum_only():
    network = PCFRLNetwork(FaceBackbone(SMALL)).eval()
    f_f, f_p = torch.randn(2, 2, network.feature_dim)
    torch.testing.assert_close(network.reconstruct(f_f, f_p), network.reconstruct(7 * f_p, 7 * f_f))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    torch.manual_seed(0)
    network = PCFRLNetwork(FaceBackbone(SMALL), image_size=48)
    images = torch.rand(4, 3, 48, 48)
    expected = network.encode(images)
    with torch.autocast("cpu", dtype):
        features = network.encode(images)
        image = network.reconstruct(features.f_f, features.f_p)
        z_f = network.project_face(features.f_f)
    torch.testing.assert_close(features.f_s.float(), expected.f_s, atol=0.05, rtol=0.05)
    (image.float().mean() + z_f.float().square().mean()).backward()
    assert all(p.grad.isfinite().all() for p in network.backbone.parameters())


class TestInjectedBackbones:
    @pytest.mark.parametrize(
        ("make", "shape"),
        [
            (lambda: nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]), (512, 2, 2)),
            (lambda: TimmBackbone("resnet18", out_index=-2), (256, 4, 4)),
            (lambda: TimmBackbone("vit_tiny_patch16_224"), (192, 4, 4)),
        ],
        ids=["torchvision", "timm-resnet", "timm-vit"],
    )
    def test_heads_follow_the_map(self, make, shape):
        backbone = make().train()
        network = PCFRLNetwork(backbone, image_size=64, projection_dim=16)
        assert network.feature_dim == shape[0] * shape[1] * shape[2]
        features = network.encode(torch.rand(2, 3, 64, 64))
        assert network.reconstruct(features.f_f, features.f_p).shape == (2, 3, 64, 64)
        assert network.project_face(features.f_f).shape == (2, 16)

    def test_looking_at_the_map_leaves_the_backbone_alone(self):
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=8), nn.BatchNorm2d(8), nn.Dropout(0.5))
        backbone[2].eval()
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        PCFRLNetwork(backbone, image_size=32)
        assert [module.training for module in backbone] == [True, True, False]
        assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())

    @pytest.mark.parametrize(
        ("backbone", "words"),
        [
            (torchvision.models.resnet18(), ["backbone ResNet", "shape (1, 1000)", "classifier"]),
            (nn.Linear(64, 4), []),
            (nn.Sequential(nn.Flatten(2)), ["backbone Sequential", "(1, 3, 4096)"]),
            (nn.Linear(3, 4), ["backbone Linear cannot take", "image_size=64"]),
            (nn.MaxPool2d(2, return_indices=True), ["backbone MaxPool2d", "got tuple", "TimmBackbone"]),
        ],
        ids=["classifier", "map", "flat", "shapes", "tuple"],
    )
    def test_what_is_not_a_map_is_refused(self, backbone, words):
        if not words:
            assert PCFRLNetwork(backbone).feature_dim == 3 * 64 * 4
            return
        with pytest.raises(ValueError, match=r"^backbone") as error:
            PCFRLNetwork(backbone)
        assert all(word in str(error.value) for word in words), error.value

    def test_unknown_timm_model_or_map(self):
        with pytest.raises(ValueError, match="model_name='nosuchmodel'"):
            TimmBackbone("nosuchmodel")
        with pytest.raises(ValueError, match="out_index=9"):
            TimmBackbone("resnet18", out_index=9)

    def test_timm_missing(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "timm", None)
        with pytest.raises(ImportError, match="pip install timm"):
            TimmBackbone("resnet18")


@pytest.mark.parametrize("size", [15, 8, 1])
def test_images_smaller_than_the_stride(size):
    with pytest.raises(ValueError, match=rf"image_size={size} .*16 px.*Raise image_size"):
        PCFRLNetwork(FaceBackbone(SMALL), image_size=size)


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), float("inf")])
def test_impossible_width(width):
    with pytest.raises(ValueError, match="width"):
        FaceBackbone(width)


def test_impossible_sizes():
    with pytest.raises(ValueError, match="image_size must be at least 1"):
        PCFRLNetwork(FaceBackbone(SMALL), image_size=0)
    with pytest.raises(ValueError, match="projection_dim must be at least 1"):
        PCFRLNetwork(FaceBackbone(SMALL), projection_dim=0)
