"""The measuring tools measure what they say; no test asserts a time."""

import json
from pathlib import Path

import pytest
import torch

from pcfrl_lightning.bench.arithmetic import multiply_adds
from pcfrl_lightning.bench.clock import Clock, interleaved, paired_ratio
from pcfrl_lightning.bench.memory import peak_extra_bytes
from pcfrl_lightning.bench.npa import calibrating_head, clustered_views, infonce, measure_npa
from pcfrl_lightning.bench.probe import ProbeOptions, measure_probe
from pcfrl_lightning.bench.step import StepOptions, measure_step
from pcfrl_lightning.cli.bench import main
from pcfrl_lightning.heads import AllNegatives, CalibratedContrast, CosineOnly, NoCalibration

CPU = torch.device("cpu")


def test_multiply_adds_of_known_shapes() -> None:
    a, b = torch.randn(5, 7), torch.randn(7, 11, requires_grad=True)
    assert multiply_adds(lambda: a @ b) == 5 * 7 * 11
    assert multiply_adds(lambda: (a @ b).sum().backward()) == 2 * 5 * 7 * 11  # only b needs a gradient
    conv, image = torch.nn.Conv2d(3, 8, 3, padding=1), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert multiply_adds(lambda: conv(image)) == 2 * 8 * 16 * 16 * 3 * 9


def test_peak_memory_counts_temporaries_and_forgets_what_was_released() -> None:
    size = 1024 * 1024
    x = torch.zeros(size)

    def one_after_another() -> None:
        for _ in range(3):
            y = x + 1
            del y

    def at_once() -> tuple[torch.Tensor, ...]:
        return x + 1, x + 2, x + 3

    assert peak_extra_bytes(one_after_another, CPU) == pytest.approx(4 * size, rel=1e-3)
    assert peak_extra_bytes(at_once, CPU) == pytest.approx(12 * size, rel=1e-3)


def test_interleaved_calls_in_turn() -> None:
    calls: list[str] = []
    contenders = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    times = interleaved(Clock(CPU), contenders, budget=0.0, least=3)
    assert "".join(calls) == "ab" * 4  # one warm-up each
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_paired_ratio_is_of_the_same_round() -> None:
    assert paired_ratio([2.0, 200.0, 3.0], [1.0, 100.0, 1.0]) == 2.0


def test_infonce_equals_the_head_without_calibration() -> None:
    """The baseline is the same loss as ours when nothing is calibrated and the positive is in the denominator."""
    first, second = clustered_views(16, 8, CPU)
    head = CalibratedContrast(NoCalibration(), CosineOnly(), denominator="all", negatives=AllNegatives())
    torch.testing.assert_close(infonce(first, second), head(first, second).loss)


def test_the_measured_head_calibrates_some_pairs() -> None:
    first, second = clustered_views(64, 32, CPU)
    calibrated = calibrating_head(first, second)(first, second).stats["calibrated"]
    assert 0 < calibrated < 64


@pytest.mark.parametrize("size", [512, 1024])
def test_the_calibrated_head_stays_within_four_square_matrices(size: int) -> None:
    """At M = d = 512 every (M, d) tensor counts a whole M^2, the gradient of the views among them."""
    first, second = clustered_views(size // 2, 512, CPU)
    head = calibrating_head(first, second)

    def step() -> tuple[torch.Tensor, ...]:
        output = head(first, second)
        return torch.autograd.grad(output.loss + output.calibrated_loss, (first, second))

    assert head(first, second).stats["calibrated"] > 0
    assert peak_extra_bytes(step, CPU) <= 4 * size**2 * 4


def test_npa_rows() -> None:
    (row,) = measure_npa([32], 16, CPU, budget=0.0)
    assert row["M"] == 32
    assert row["calibrated_pairs"] > 0
    assert all(value > 0 for value in (*row["seconds"].values(), *row["extra_floats_per_m2"].values()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_step_parts_add_up(precision: str) -> None:
    result = measure_step(StepOptions(CPU, batch_size=4, width=0.125, image_size=32, precision=precision, steps=1))
    seconds = result["seconds"]
    assert seconds["forward"] + seconds["backward"] + seconds["optimizer"] == pytest.approx(seconds["step"])
    assert all(value > 0 for value in seconds.values())
    assert result["images_per_second"] == pytest.approx(4 / seconds["step"])
    assert len(result["step_seconds"]) == 1
    assert result["multiply_adds"] > 0
    assert result["host_syncs"] == []


@pytest.mark.parametrize(("task", "memory_gb"), [("expression", 6.0), ("action-units", 0.0)])
def test_probe_writes_its_features_and_says_whether_it_streams(task: str, memory_gb: float, tmp_path: Path) -> None:
    result = measure_probe(ProbeOptions(task, 300, 16, epochs=2, memory_gb=memory_gb, folder=str(tmp_path)))
    assert result["table_bytes"] == 300 * 16 * 4
    assert result["streamed"] == (memory_gb == 0)
    assert result["seconds_per_epoch"] == pytest.approx(result["fit_seconds"] / 2)
    assert 0 < result["extraction_seconds"] < result["total_seconds"]
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "npa.json"
    main(["npa", "--sizes", "16,32", "--dim", "8", "--budget", "0", "--threads", "1", "--json", str(target)])
    content = json.loads(target.read_text())
    assert [row["M"] for row in content["result"]] == [16, 32]
    assert content["options"]["dim"] == 8
    assert content["environment"]["torch"] == torch.__version__
    assert "InfoNCE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["npa", "--sizes", "16,7"], "--sizes"),
        (["npa", "--sizes", "a"], "--sizes"),
        (["step", "--batch-size", "1"], "--batch-size"),
        (["step", "--width", "0"], "--width"),
        (["probe", "--rows", "10"], "--rows"),
        (["step", "--device", "abacus"], "--device"),
        ([], "step|npa|probe"),
    ],
)
def test_mistakes_are_refused_with_the_option(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
