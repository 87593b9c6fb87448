"""Stands in for ``pcfrl fit`` in tests: writes the files of a run in a fraction of a second.

``pcfrl evaluate`` is passed on to the real one; STANDIN_CHECKPOINT is then what each run leaves.

``--quality`` is what it logs in the end, ``--epochs`` how many, ``--pause`` how long each takes, ``--crash`` the epoch
in which it dies. It goes on with the epoch of its checkpoint.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

if sys.argv[1] == "evaluate":
    os.execv(sys.executable, [sys.executable, "-m", "pcfrl_lightning", *sys.argv[1:]])
options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:] if "=" in word)
folder = Path(options["trainer.logger.save_dir"], options["trainer.logger.name"])
done = int(Path(options["ckpt_path"]).read_text()) if "ckpt_path" in options else 0
epochs, pause = int(options.get("epochs", 2)), float(options.get("pause", 0))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
part = folder / f"version_{len(list(folder.glob('version_*')))}"
(part / "checkpoints").mkdir(parents=True)
print(f"{sys.argv[1]} from epoch {done}", flush=True)
lines = ["epoch,monitor/knn_accuracy"]
for epoch in range(done, epochs):
    time.sleep(pause)
    if options.get("crash") == str(epoch) and not done:
        sys.exit("Traceback ...\npcfrl: the disk is full")
    value = float(options.get("quality", 0.5)) * (epoch + 1) / epochs + int(options.get("seed_everything", 0)) / 100
    lines.append(f"{epoch},{value}")
    (part / "metrics.csv").write_text("\n".join(lines) + "\n")
    (part / "checkpoints" / "last.ckpt").write_text(str(epoch + 1))
if "STANDIN_CHECKPOINT" in os.environ:
    shutil.copy(os.environ["STANDIN_CHECKPOINT"], part / "checkpoints" / "last.ckpt")
