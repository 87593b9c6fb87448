"""Unreadable images in whole runs: the monitor beside training on views, and the features of every image."""

from pathlib import Path

import lightning as L
import pytest
import torch

from pcfrl_lightning.callbacks import OnlineMonitor
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.images.listing import open_images
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.errors import DataError
from tiny import tiny_model, trainer


class Labelled(FaceData):
    """All images of a folder as `train` and the first ten as `val`; the label is the row."""

    name = "labelled"

    def build(self):
        source = open_images(self.root)
        faces = FaceSet(source, {"expression": torch.arange(len(source))}, name="labelled/train")
        val = faces.subset(range(10))
        val.name = "labelled/val"
        return {"train": faces, "val": val}


class Encoder(L.LightningModule):
    """Mean colour as the only feature of an image."""

    def predict_step(self, batch, _):
        return {"index": batch["index"], "f_s": batch["image"].float().mean((2, 3))}


def empty(folder: Path, *rows: int) -> list[str]:
    paths = sorted(folder.rglob("*.jpg"))
    for row in rows:
        paths[row].write_bytes(b"")
    return [path.relative_to(folder).as_posix() for path in paths]


def read_by_monitor(tmp_path: Path, data: FaceData, monitor: OnlineMonitor) -> OnlineMonitor:
    monitor.setup(_attached(tmp_path, data), tiny_model(), "fit")
    return monitor


def _attached(tmp_path: Path, data: FaceData) -> L.Trainer:
    run = trainer(tmp_path / "run", max_epochs=1)
    run.datamodule = data
    return run


def views(folder: Path, **options) -> Labelled:
    return Labelled(folder, AlbumentationsViews(32), image_size=32, batch_size=8, num_workers=0, **options)


def test_the_monitor_leaves_out_an_empty_image_of_the_train_set_of_views(make_folder, tmp_path):
    folder = make_folder(200)
    names = empty(folder, 60)
    monitor = read_by_monitor(tmp_path, views(folder), OnlineMonitor())
    images, labels = monitor.images["train"]
    assert labels.tolist() == [row for row in range(200) if row != 60]
    assert len(images) == 199
    listed = (tmp_path / "run" / "unreadable_labelled_train_monitor.txt").read_text()
    assert listed == f"{names[60]}\tempty file\n"


def test_one_empty_image_is_rare_in_the_whole_set_however_few_the_monitor_looks_at(make_folder, tmp_path):
    folder = make_folder(200)
    empty(folder, 199)
    monitor = read_by_monitor(tmp_path, views(folder), OnlineMonitor(max_images=5))
    assert monitor.images["train"][1].tolist() == [0, 50, 100, 149]


def test_the_monitor_stops_at_many_empty_images(make_folder, tmp_path):
    folder = make_folder(200)
    names = empty(folder, 20, 60, 100)
    with pytest.raises(DataError, match=rf"3 of 200 images cannot be read.*the first is {names[20]}"):
        read_by_monitor(tmp_path, views(folder), OnlineMonitor())


def test_a_run_with_the_monitor_survives_an_empty_image(make_folder, tmp_path):
    folder = make_folder(200)
    empty(folder, 60)
    run = trainer(tmp_path / "run", max_epochs=1, callbacks=[OnlineMonitor()], limit_train_batches=1)
    run.fit(tiny_model(), views(folder))
    assert "monitor/knn_accuracy" in run.callback_metrics


def test_the_monitor_needs_labels_and_splits(make_folder, tmp_path):
    folder = make_folder(4)
    with pytest.raises(DataError, match=r"faces/train has no label 'expression', it has none; set `label`"):
        read_by_monitor(tmp_path, FaceFolder(folder), OnlineMonitor())


@pytest.mark.parametrize("with_views", [False, True])
def test_predicted_features_go_with_the_names_of_the_images_that_were_read(make_folder, tmp_path, with_views):
    folder = make_folder(200)
    names = empty(folder, 5)
    augment = AlbumentationsViews(16) if with_views else None
    data = FaceFolder(folder, views=augment, image_size=16, batch_size=32, num_workers=0)
    batches = trainer(tmp_path / "run").predict(Encoder(), data)
    written = {key: torch.cat([batch[key] for batch in batches]) for key in ("index", "f_s")}
    source = data.readable("train").source
    assert [source.name(row) for row in written["index"].tolist()] == [name for name in names if name != names[5]]
    assert written["index"].tolist() == list(range(199))
    mean = torch.from_numpy(source.read(7)[2:18].copy()).float().mean((0, 1))  # 20 x 16, the centre square
    torch.testing.assert_close(written["f_s"][7], mean)
    assert (tmp_path / "run" / "unreadable_faces_train.txt").read_text().startswith(names[5])


def test_predict_stops_at_many_empty_images(make_folder, tmp_path):
    folder = make_folder(200)
    names = empty(folder, 5, 6, 7)
    data = FaceFolder(folder, views=AlbumentationsViews(16), image_size=16, batch_size=32, num_workers=0)
    with pytest.raises(DataError, match=rf"3 of 200 .*the first is {names[5]}"):
        trainer(tmp_path / "run").predict(Encoder(), data)
