"""``pcfrl demo``: pretrain on synthetic faces, probe, write results.json and report.html."""

import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pcfrl_lightning.cli.arguments import OneLineArguments
from pcfrl_lightning.cli.configs import config_path
from pcfrl_lightning.printing import plain_console


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl demo`; returns the exit status."""
    parser = OneLineArguments("pcfrl demo", description=__doc__.split(": ")[1] if __doc__ else None)
    parser.add_argument("--config", default="pcfrl:demo", help="the run (default: %(default)s)")
    parser.add_argument("--out", default="runs/demo", help="folder of the results (default: %(default)s)")
    options, overrides = parser.parse_known_args(arguments)
    config, out = Path(config_path(options.config)), Path(options.out)
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be created is reported before faces are rendered
    run_demo(config, out, overrides)
    return 0


def run_demo(config: Path, out: Path, overrides: Sequence[str] = (), probe_epochs: int | None = None) -> dict[str, Any]:
    """The whole demo; returns the content of results.json.

    ``config`` pretrains PCFRL on `SyntheticFaces`; what an earlier demo left in ``out`` is replaced; ``overrides`` are
    more arguments of `pcfrl fit`, such as ``--trainer.max_epochs=2``.
    """
    from pcfrl_lightning.evaluate.run import Settings
    from pcfrl_lightning.evaluate.table import results_table
    from pcfrl_lightning.probes.results import command, hardware, versions, write_results
    from pcfrl_lightning.reports import demo
    from pcfrl_lightning.reports.build import write_report

    console, clock = plain_console(), Stopwatch()
    cli = pretrain(config, out, overrides)
    clock.lap("rendering and pretraining")
    module, data, seed = cli.model.eval(), cli.datamodule, int(cli.config["fit"]["seed_everything"])
    epochs = probe_epochs or demo.PROBE_EPOCHS
    checkpoint = cli.trainer.checkpoint_callback.last_model_path
    settings = Settings(checkpoint, out / "probes", epochs=epochs, seed=seed, cache_dir=out / "features")
    say = partial(console.print, style="dim")
    rows = demo.measure_probes(data, settings, lambda text: say(f"probe {text}"))
    results = demo.results_of(rows)
    clock.lap("probes")
    calibration = demo.measure_calibration(module, data, seed)
    clock.lap("calibration")
    results |= {"calibration": calibration.results()}
    results |= {"probe_epochs": epochs, "seed": seed, "hardware": hardware(), "versions": versions()}
    results |= {"command": command(sys.argv), "seconds": clock.seconds}
    write_results(out / "results.json", results)
    say("report: tables and figures")
    report = write_report([str(out)], out)
    clock.lap("report")
    results["seconds"] = clock.seconds
    path = write_results(out / "results.json", results)
    shown = [row for row in rows if row.feature == "f_s"]
    console.print(results_table(shown, "frozen F_s on synthetic faces, last epoch"))
    console.print(*calibration_lines(results["calibration"]), sep="\n")
    console.print(f"results: {path}\nreport:  {report}", soft_wrap=True)
    return results


def pretrain(config: Path, out: Path, overrides: Sequence[str]) -> Any:
    """Run `pcfrl fit` in this process, logging into ``out``; returns the CLI object."""
    import torch

    from pcfrl_lightning.cli.training import run

    # One thread computes while a worker makes views. Two threads for so small a network gain little on two idle cores
    # and wait for each other on busy ones (3 s a step instead of 0.4 s).
    torch.set_num_threads(1)
    place = [f"--trainer.logger.save_dir={out.parent}", f"--trainer.logger.name={out.name}"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")
        warnings.filterwarnings("ignore", message=".*[Dd]irectory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        return run(["fit", "--config", str(config), *place, *overrides])


def calibration_lines(found: dict[str, Any]) -> list[str]:
    """What was calibrated and how often it was right, a line per branch."""
    lines = []
    for name in ("pose", "face"):
        pairs, anchors = found[f"{name}_pairs"], found[f"{name}_anchors"]
        base = f"among all pairs {100 * found[f'{name}_base_rate']:.1f} % are"
        if not pairs:
            lines.append(f"{name}: no pair of {anchors} anchors reached T; {base} right")
            continue
        right = f"{100 * found[f'{name}_precision']:.1f} % of {pairs} calibrated pairs are right"
        lines.append(f"{name}: {right} ({found[f'{name}_agrees']}), {base}; {anchors} anchors")
    return lines


class Stopwatch:
    """Wall-clock seconds of named parts, and their total."""

    def __init__(self) -> None:
        self.begun, self.seconds = time.perf_counter(), {"total": 0.0}

    def lap(self, name: str) -> None:
        """Everything since the last lap was ``name``."""
        before, total = self.seconds.pop("total"), round(time.perf_counter() - self.begun, 1)
        self.seconds |= {name: round(total - before, 1), "total": total}
