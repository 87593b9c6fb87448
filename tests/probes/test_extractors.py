"""Extracted features are the features of a direct forward pass; baselines match their definitions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.networks.encoder import load_encoder, untrained_encoder
from pcfrl_lightning.probes.features import extract
from pcfrl_lightning.probes.features.extract import EncoderFeatures
from pcfrl_lightning.probes.features.handmade import HoGFeatures, LBPFeatures, PixelFeatures, to_grey
from pcfrl_lightning.probes.features.source import FeatureSource


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def extractor(checkpoint, baseline=None, **options):
    return FeatureSource(checkpoint, baseline, **options).make_extractor(torch.device("cpu"))


def test_features_equal_a_direct_forward(checkpoint, images):
    found = extractor(checkpoint, precision="float32")(images)
    with torch.no_grad():
        expected = load_encoder(checkpoint).encode(images.float() / 255)
    assert list(found) == ["f_s", "f_f", "f_p"]
    for name, value in zip(found, expected, strict=True):
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_random_network_has_the_architecture_but_not_the_weights(checkpoint, images):
    trained, untrained = extractor(checkpoint), extractor(checkpoint, "random")
    assert untrained(images)["f_s"].shape == trained(images)["f_s"].shape
    assert not torch.allclose(untrained(images)["f_s"], trained(images)["f_s"])
    again, other = extractor(checkpoint, "random", seed=0), extractor(checkpoint, "random", seed=1)
    assert again.fingerprint() == untrained.fingerprint() != other.fingerprint()
    assert torch.equal(again(images)["f_p"], untrained(images)["f_p"])
    assert torch.equal(again(images)["f_s"], EncoderFeatures(untrained_encoder(checkpoint, 0))(images)["f_s"])


def test_random_network_leaves_the_global_generator_alone(checkpoint):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    extractor(checkpoint, "random", seed=5)
    assert torch.equal(torch.rand(1), expected)


def test_precision_is_part_of_the_fingerprint_and_stays_close(checkpoint, images):
    exact, rounded = (extractor(checkpoint, precision=name) for name in ("float32", "bf16"))
    assert (exact.precision, rounded.precision) == ("float32", "bf16")
    assert exact.fingerprint() != rounded.fingerprint()
    a, b = exact(images)["f_s"], rounded(images)["f_s"]
    assert b.dtype == torch.float32
    assert 0 < float((a - b).norm() / a.norm()) < 0.05
    with pytest.raises(UsageError, match=r"model\.precision tf32 needs a GPU"):
        extractor(checkpoint, precision="tf32")


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_is_bf16_where_the_processor_has_it(checkpoint, images, monkeypatch, native, expected):
    monkeypatch.setattr(extract, "native_bf16", lambda: native)
    made = extractor(checkpoint)
    assert made.precision == expected
    assert made.fingerprint() == extractor(checkpoint, precision=expected).fingerprint()
    assert all(value.dtype == torch.float32 for value in made(images).values())
    assert extract.chosen_precision("auto", torch.device("cuda")) == "bf16"
    assert extract.chosen_precision("auto", torch.device("mps")) == "float32"
    assert extract.chosen_precision("float32", torch.device("cpu")) == "float32"


def test_bf16_computes_in_bf16_and_channels_last(checkpoint, images):
    made, maps = extractor(checkpoint, precision="bf16"), []
    layer = made.encoder.backbone.stem[1][0]
    layer.register_forward_hook(lambda module, given, result: maps.extend([*given, result]))
    made(images)
    assert [each.dtype for each in maps] == [torch.bfloat16] * 2
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in [*maps, layer.weight])


@pytest.mark.parametrize(("instructions", "expected"), [((0, 0), False), ((1, 0), True), ((0, 1), True)])
def test_bf16_products_are_those_that_pytorch_finds(monkeypatch, instructions, expected):
    for name, there in zip(("avx512_bf16", "amx_tile"), instructions, strict=True):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda there=there: bool(there), raising=False)
    assert extract.native_bf16() is expected
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert extract.native_bf16() is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx512_bf16 sse\n", True),
        ("model name: x\nflags : fpu amx_bf16\n", True),
        ("flags : fpu avx512f\n", False),
        ("Features : bf16\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bf16_products_are_those_of_the_flags_where_pytorch_does_not_say(monkeypatch, text, expected):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)

    def read_text(path):
        assert str(path) == "/proc/cpuinfo"
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    assert extract.native_bf16() is expected


@pytest.mark.parametrize(("setting", "within"), [("float32", "highest"), ("tf32", "high")])
def test_float32_means_float32_whatever_the_process_allows(checkpoint, images, monkeypatch, setting, within):
    """`pcfrl` allows TF32 for training; features say in which precision they were made."""
    made = extractor(checkpoint)
    made.precision = setting
    seen = []
    encode = made.encoder.encode
    monkeypatch.setattr(made.encoder, "encode", lambda x: seen.append(precisions()) or encode(x))
    before = precisions()
    torch.set_float32_matmul_precision("medium")
    try:
        made(images)
        assert seen == [(within, setting == "tf32")]
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert precisions() == before


def precisions():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def test_models_of_other_libraries(images):
    """Untrained, so that nothing is downloaded."""
    made = extractor("torchvision:resnet18", "random", seed=3)
    assert made.names == ("f_s",)
    assert made(images)["f_s"].shape == (3, 512)


def test_missing_checkpoint_is_one_clear_line():
    with pytest.raises(FileNotFoundError, match=r"checkpoint nowhere\.ckpt does not exist"):
        extractor("nowhere.ckpt")


def test_feature_lengths_of_the_baselines():
    images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    for extractor, dim in ((LBPFeatures(), 944), (HoGFeatures(), 900), (PixelFeatures(), 2304)):
        (name,) = extractor(images)
        assert extractor(images)[name].shape == (2, dim)
        assert extractor.names == (name,)
        assert name in extractor.fingerprint()


@pytest.mark.parametrize("side", [20, 33])
def test_lbp_histograms_against_a_loop(side):
    from skimage.feature import local_binary_pattern

    grey = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    codes = local_binary_pattern(grey, 8, 2, method="nri_uniform").astype(int)
    counts = np.zeros((4, 4, 59))
    for y in range(side):
        for x in range(side):
            counts[y * 4 // side, x * 4 // side, codes[y, x]] += 1
    expected = (counts / counts.sum(2, keepdims=True)).reshape(-1)
    np.testing.assert_allclose(LBPFeatures().describe(grey), expected)


def test_grey_of_equal_channels_is_exact():
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_grey(grey.expand(1, 3, 16, 16)), grey[0])
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert int(to_grey(red)) == 76


@pytest.mark.parametrize(
    ("checkpoint_path", "baseline", "features", "words"),
    [
        (None, None, ["f_s"], "model.checkpoint .* or model.baseline"),
        ("a.ckpt", "lbp", ["f_s"], "either model.checkpoint or model.baseline"),
        ("a.ckpt", None, [], "model.feature must name"),
        ("a.ckpt", None, ["f_s", "f_s"], "model.feature must name"),
        (None, "lbp", ["f_p"], "model.feature f_p"),
        (None, "sift", ["f_s"], "model.baseline must be"),
    ],
)
def test_contradictions_name_the_keys(checkpoint_path, baseline, features, words):
    with pytest.raises(ValueError, match=words):
        FeatureSource(checkpoint_path, baseline, features)


def test_random_may_take_its_architecture_from_a_checkpoint():
    FeatureSource("a.ckpt", "random", ["concat"])
