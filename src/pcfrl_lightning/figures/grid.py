"""Pictures for the run directory and the logger."""

from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image, ImageDraw
from torch import Tensor

from pcfrl_lightning.run_directory import run_directory

TITLE_HEIGHT = 14


def labelled_grid(columns: dict[str, Tensor], pixels: int = 96) -> Image.Image:
    """Lay equally many images ``(R, 3, S, S)`` in [0, 1], clipped, side by side under their titles.

    ``pixels``: side of each cell in the picture.
    """
    rows = len(next(iter(columns.values())))
    picture = Image.new("RGB", (pixels * len(columns), TITLE_HEIGHT + pixels * rows), "white")
    draw = ImageDraw.Draw(picture)
    for column, (title, images) in enumerate(columns.items()):
        draw.text((column * pixels + 3, 1), title, fill="black")
        shown = (images.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for row, image in enumerate(shown):
            cell = Image.fromarray(image).resize((pixels, pixels), Image.Resampling.BILINEAR)
            picture.paste(cell, (column * pixels, TITLE_HEIGHT + row * pixels))
    return picture


def save_picture(trainer: L.Trainer, name: str, picture: Image.Image) -> Path:
    """Write ``<run directory>/<name>_epoch_NNNN.png`` and hand the picture to W&B and TensorBoard loggers."""
    folder = run_directory(trainer) / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_epoch_{trainer.current_epoch + 1:04d}.png"
    picture.save(path)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.array(picture), trainer.global_step, dataformats="HWC")
    return path
