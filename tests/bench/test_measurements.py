"""The measuring tools measure what they say; no test asserts a time."""

import json
import runpy
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from pcfrl_lightning.bench import naive
from pcfrl_lightning.bench.kernels import group
from pcfrl_lightning.bench.step import StepOptions, measure_step, multiply_adds
from pcfrl_lightning.cli.bench import main
from pcfrl_lightning.heads import AllNegatives, CalibratedContrast, CosineOnly, NoCalibration
from pcfrl_lightning.methods.pcfrl import VIEW_ORDER
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pictures import noise
from tiny import unmoved

CPU = torch.device("cpu")
SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def npa() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPTS / "npa.py"))


def test_multiply_adds_of_known_shapes() -> None:
    a, b = torch.randn(5, 7), torch.randn(7, 11, requires_grad=True)
    assert multiply_adds(lambda: a @ b) == 5 * 7 * 11
    assert multiply_adds(lambda: (a @ b).sum().backward()) == 2 * 5 * 7 * 11  # only b needs a gradient
    conv, image = torch.nn.Conv2d(3, 8, 3, padding=1), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert multiply_adds(lambda: conv(image)) == 2 * 8 * 16 * 16 * 3 * 9


def test_peak_memory_counts_temporaries_and_not_what_was_released(npa: dict[str, Any]) -> None:
    size = 1024 * 1024
    x = torch.zeros(size)

    def one_after_another() -> None:
        for _ in range(3):
            y = x + 1
            del y

    def at_once() -> tuple[torch.Tensor, ...]:
        return x + 1, x + 2, x + 3

    assert npa["peak_extra_bytes"](one_after_another, CPU) == pytest.approx(4 * size, rel=1e-3)
    assert npa["peak_extra_bytes"](at_once, CPU) == pytest.approx(12 * size, rel=1e-3)


def test_infonce_equals_the_head_without_calibration(npa: dict[str, Any]) -> None:
    """The baseline is the same loss as ours when nothing is calibrated and the positive is in the denominator."""
    first, second = npa["clustered_views"](16, 8, CPU)
    head = CalibratedContrast(NoCalibration(), CosineOnly(), denominator="all", negatives=AllNegatives())
    torch.testing.assert_close(npa["infonce"](first, second), head(first, second).loss)


def test_the_measured_head_calibrates_some_pairs(npa: dict[str, Any]) -> None:
    first, second = npa["clustered_views"](64, 32, CPU)
    calibrated = npa["calibrating_head"](first, second)(first, second).stats["calibrated"]
    assert 0 < calibrated < 64


@pytest.mark.parametrize("size", [512, 1024])
def test_memory_of_the_calibrated_head_is_quadratic(size: int, npa: dict[str, Any]) -> None:
    """No (M, M, d) tensor. At M = d = 512 every (M, d) tensor counts a whole M^2, the gradient of the views too."""
    first, second = npa["clustered_views"](size // 2, 512, CPU)
    head = npa["calibrating_head"](first, second)

    def step() -> tuple[torch.Tensor, ...]:
        output = head(first, second)
        return torch.autograd.grad(output.loss + output.calibrated_loss, (first, second))

    assert head(first, second).stats["calibrated"] > 0
    assert npa["peak_extra_bytes"](step, CPU) <= 10 * size**2 * 4


def test_npa_script_writes_its_rows(npa: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "npa.json"
    npa["main"](["--sizes", "16", "32", "--dim", "8", "--budget", "0", "--device", "cpu", "--json", str(target)])
    content = json.loads(target.read_text())
    assert [row["M"] for row in content["result"]] == [16, 32]
    assert content["options"]["dim"] == 8
    assert content["environment"]["torch"] == torch.__version__
    for row in content["result"]:
        assert row["calibrated_pairs"] > 0
        assert all(value > 0 for value in (*row["seconds"].values(), *row["extra_floats_per_m2"].values()))
    assert "InfoNCE" in capsys.readouterr().out


@pytest.mark.parametrize(("task", "memory_gb"), [("expression", 6.0), ("action-units", 0.0)])
def test_probe_script_writes_features_and_says_whether_it_streams(task: str, memory_gb: float, tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPTS / "probe.py"))
    small = f"--task {task} --rows 300 --dim 16 --epochs 2 --memory-gb {memory_gb} --folder {tmp_path}"
    result = script["main"](small.split())
    assert result["table_bytes"] == 300 * 16 * 4
    assert result["streamed"] == (memory_gb == 0)
    assert result["seconds_per_epoch"] == pytest.approx(result["fit_seconds"] / 2)
    assert 0 < result["extraction_seconds"] < result["total_seconds"]
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_render_script_draws_whole_blocks() -> None:
    result = runpy.run_path(str(SCRIPTS / "render.py"))["main"](["--count", "1", "--image-size", "32"])
    assert result["images"] == 50
    assert result["fastest_images_per_second"] == pytest.approx(result["images_per_second"])


def test_the_loader_is_timed_with_and_without_decoded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    for number, image in enumerate(noise(12)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    small = ["--workers", "0", "--batch-size", "4", "--image-size", "16", "--batches", "2"]
    rates = runpy.run_path(str(SCRIPTS / "image_cache.py"))["main"](["--root", str(tmp_path), *small])
    assert len(rates) == 6
    assert min(rates.values()) > 0


def test_views_script_times_both_kinds_of_views() -> None:
    result = runpy.run_path(str(SCRIPTS / "views.py"))["main"](["--batch-size", "4", "--image-size", "16"])
    kinds = ("albumentations", "device_workers", "device_on_cpu")
    assert all(result[f"{kind}_images_per_second"] > 0 for kind in kinds)
    assert ("device_compiled_ms" in result) == torch.cuda.is_available()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_parts_of_the_step(precision: str) -> None:
    result = measure_step(StepOptions(CPU, batch_size=4, width=0.125, image_size=32, precision=precision, steps=1))
    seconds, parts = result["seconds"], result["forward_parts"]
    assert {"backbone", "decoder", "face_contrast", "pose_contrast"} <= set(parts)
    assert all(value > 0 for value in (*parts.values(), seconds["step"], seconds["forward"], seconds["data"]))
    assert result["images_per_second"] == pytest.approx(4 / seconds["step"])
    assert len(result["step_seconds"]) == 1
    assert result["multiply_adds"] > 0


def test_step_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "step.json"
    small = "step --batch-size 2 --width 0.125 --image-size 32 --steps 1 --precision fp32 --device cpu --threads 1"
    main([*small.split(), "--json", str(target)])
    content = json.loads(target.read_text())
    assert content["options"]["batch_size"] == 2
    assert content["result"]["images_per_second"] > 0
    for name in ("bare_step_seconds", "trainer_step_seconds", "fit_images_per_second", "floor_seconds"):
        assert content["result"][name] > 0
    found = content["result"]["kernels"]
    assert 1 <= len(found) <= 15
    assert [each["seconds"] for each in found] == sorted((each["seconds"] for each in found), reverse=True)
    printed = capsys.readouterr().out
    assert "step in the Trainer" in printed
    assert "convolution" in printed
    assert "plain reading" not in printed


def test_step_command_compares_with_a_plain_reading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(naive, "POSE_VIEWS", 2)
    small = "step --batch-size 2 --width 0.125 --image-size 32 --steps 1 --precision fp32 --device cpu --compare naive"
    main(small.split())
    assert "times the images/s of the plain reading" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16", "convolution"),
        ("aten::convolution_backward", "convolution"),
        ("nvjet_hsh_128x256", "matrix product"),
        ("aten::bmm", "matrix product"),
        ("cunn_SoftMaxForward", "softmax"),
        ("aten::_softmax_backward_data", "softmax"),
        ("void at::native::reduce_kernel<512, 1>", "reductions"),
        ("aten::sum", "reductions"),
        ("direct_copy_kernel_cuda", "copies and casts"),
        ("aten::copy_", "copies and casts"),
        ("void at::native::vectorized_elementwise_kernel<4>", "elementwise"),
        ("aten::add_", "elementwise"),
        ("triton_poi_fused_add_convolution_leaky_relu_3", "elementwise"),
        ("triton_red_fused__softmax_native_batch_norm_7", "reductions"),
        ("triton_per_fused_sum_12", "reductions"),
        ("triton_tem_fused_addmm_4", "matrix product"),
        ("## Call CompiledFxGraph fconvgemmcopy ##", "elementwise"),
    ],
)
def test_kernels_are_grouped(name: str, expected: str) -> None:
    assert group(name) == expected


def test_the_plain_reading_decodes_and_contrasts_as_the_package_does() -> None:
    """The same mathematics, slower: the decoder, and the loss of unmixed negatives."""
    network = PCFRLNetwork(FaceBackbone(0.125), 32, 8).eval()
    features = torch.randn(3, network.feature_dim)
    torch.testing.assert_close(naive.decode(network.decoder, features), network.decoder(features), atol=1e-5, rtol=1e-5)
    z = torch.randn(6, 8)
    others = torch.tensor([[k for k in range(6) if k % 3 != i % 3] for i in range(6)])
    same = z[others][:, :1].expand(-1, 4, -1)  # mixing equal negatives changes nothing
    logits = torch.cat(
        [torch.cosine_similarity(z, z.roll(3, 0))[:, None], torch.cosine_similarity(z[:, None], same, dim=2)], 1
    )
    expected = (logits.div(0.07).logsumexp(1) - logits[:, 0] / 0.07).mean()
    torch.testing.assert_close(naive.contrast(z, z.roll(3, 0), same), expected)


def test_a_plain_iteration_takes_three_steps_on_all_parts() -> None:
    torch.manual_seed(0)
    network = PCFRLNetwork(FaceBackbone(0.125), 32, 8)
    batch = {name: torch.rand(3, 3, 32, 32) for name in VIEW_ORDER} | {"pose_negatives": torch.rand(2, 3, 3, 32, 32)}
    before = {name: value.clone() for name, value in network.named_parameters()}
    passes: list[int] = []
    network.backbone.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    naive.iteration(network, batch, torch.float32)()
    assert passes == [6, 6, 4 + 6]
    assert unmoved(network, before) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", "--batch-size", "1"], "--batch-size"),
        (["step", "--width", "0"], "--width"),
        (["step", "--device", "abacus"], "--device"),
        (["npa"], "step"),
        ([], "step"),
    ],
)
def test_mistakes_are_refused_with_the_option(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("npa.py", ["--sizes", "16", "7"], "--sizes"),
        ("npa.py", ["--sizes", "a"], "--sizes"),
        ("probe.py", ["--rows", "10"], "--rows"),
    ],
)
def test_scripts_refuse_mistakes(
    script: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPTS / script))["main"](arguments)
    assert message in capsys.readouterr().err
