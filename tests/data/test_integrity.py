import logging
import os

import lightning as L
import pytest
import torch
from PIL import Image
from torch import nn

from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.folders.voxceleb import VoxCeleb
from pcfrl_lightning.data.images.listing import open_images
from pcfrl_lightning.data.quality.unreadable import UnreadableLog, _temporary_cache, cache_folder, without_unreadable
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.errors import DataError


class Plain(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, _):
        assert all(view.shape[0] == 8 for view in batch.values())
        return self.layer(batch["source"].mean().view(1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def spoil(folder, *rows: int) -> list[str]:
    """Empty one image, cut the next one and so on; returns their names."""
    paths = sorted(folder.rglob("*.jpg"))
    for position, row in enumerate(rows):
        paths[row].write_bytes(b"" if position % 2 == 0 else paths[row].read_bytes()[:100])
    return [paths[row].relative_to(folder).as_posix() for row in rows]


def labelled(folder) -> FaceSet:
    source = open_images(folder)
    rows = torch.arange(len(source))
    pairs = Pairs(rows[:-1], rows[1:], rows[:-1] % 2 == 0, rows[:-1] % 10)
    return FaceSet(source, {"identity": rows}, pairs=pairs, name="faces/test")


def test_few_unreadable_images_are_left_out_of_a_labelled_set(make_folder, tmp_path, caplog):
    folder = make_folder(250)
    bad = spoil(folder, 7, 90)
    whole = labelled(folder)
    with caplog.at_level(logging.WARNING):
        clean = without_unreadable(whole, tmp_path / "run")
    assert len(clean) == 248
    assert clean.labels["identity"].tolist() == [row for row in range(250) if row not in (7, 90)]
    assert clean.source.name(7) == whole.source.name(8)
    assert len(clean.pairs.first) == 249 - 4
    listed = (tmp_path / "run" / "unreadable_faces_test.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == bad
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1
    assert "faces/test: 2 of 250 images cannot be read and were left out" in messages[0]
    assert "unreadable_faces_test.txt" in messages[0]


def test_many_unreadable_images_are_an_error_naming_the_first(make_folder):
    folder = make_folder(250)
    bad = spoil(folder, 3, 40, 100)
    with pytest.raises(DataError, match=rf"3 of 250 images cannot be read \(more than 1 %\), the first is {bad[0]}"):
        without_unreadable(labelled(folder))


def test_verification_is_kept_and_repairs_are_noticed(make_folder, monkeypatch):
    folder = make_folder(120)
    path = folder / spoil(folder, 5)[0]
    good = (folder / "p0" / "0000.jpg").read_bytes()
    assert len(without_unreadable(labelled(folder))) == 119
    assert list((cache_folder() / "verified").iterdir())
    reads = []
    original = type(labelled(folder).source).read
    monkeypatch.setattr(
        type(labelled(folder).source), "read", lambda self, row: reads.append(row) or original(self, row)
    )
    assert len(without_unreadable(labelled(folder))) == 119
    assert reads == [5]
    path.write_bytes(good)
    assert len(without_unreadable(labelled(folder))) == 120


@pytest.mark.parametrize("text", ["7", "[120]", '["x"]', "[[1]]", "[" * 300_000])
def test_a_damaged_outcome_of_a_verification_is_made_again(make_folder, text):
    folder = make_folder(120)
    spoil(folder, 5)
    without_unreadable(labelled(folder))
    (kept,) = (cache_folder() / "verified").iterdir()
    kept.write_text(text)
    assert len(without_unreadable(labelled(folder))) == 119
    assert kept.read_text() == "[5]\n"


def test_names_in_any_encoding_and_with_control_characters(make_folder, tmp_path):
    name = os.fsdecode(b"Mu\xf1oz\x85_1.jpg")
    folder = make_folder(240)
    (folder / name).write_bytes(b"")
    assert len(without_unreadable(labelled(folder), tmp_path / "run")) == 240
    listed = (tmp_path / "run" / "unreadable_faces_test.txt").read_bytes()
    assert listed == os.fsencode(name) + b"\tempty file\n"
    logs = [UnreadableLog("faces/train", 300, tmp_path, rank, 2) for rank in range(2)]
    logs[0].add([(name, "empty file"), ("b.jpg", "empty file")])
    with pytest.raises(DataError, match="4 of 300 images"):
        logs[1].add([(name, "empty file"), ("c.jpg", "empty file"), ("d.jpg", "empty file")])


def test_without_a_trainer_the_current_folder_stays_clean(make_folder, tmp_path, monkeypatch):
    folder = make_folder(200)
    spoil(folder, 11)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    data = FaceFolder(folder, views=AlbumentationsViews(16), image_size=16, batch_size=100, num_workers=0)
    data.setup("fit")
    for batch in data.train_dataloader():
        data.on_before_batch_transfer(batch, 0)
    assert set(tmp_path.iterdir()) == before
    assert (cache_folder() / "unreadable_faces_train.txt").is_file()


def test_no_home_folder(monkeypatch, tmp_path, caplog):
    def nobody(number):
        raise KeyError(number)

    for name in ("PCFRL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _temporary_cache.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert cache_folder() == cache_folder() == tmp_path / f"pcfrl-lightning-{os.getuid()}"
    (message,) = caplog.messages
    assert "set PCFRL_CACHE" in message


def test_one_damaged_frame_of_a_video_is_rare_for_ever(tmp_path):
    for video in range(4):
        folder = tmp_path / "frames" / f"id{video}" / "v" / "c"
        folder.mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number:02d}.png")
    (tmp_path / "frames" / "id0" / "v" / "c" / "03.png").write_bytes(b"")
    data = VoxCeleb(tmp_path, image_size=16, batch_size=4, num_workers=0)
    data.setup("fit")
    loader = data.train_dataloader()
    for epoch in range(40):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            assert "unreadable" not in data.on_before_batch_transfer(batch, 0)


def test_an_unwritable_cache_only_warns(make_folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "file"))
    assert len(without_unreadable(labelled(make_folder(3)))) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_training_replaces_few_unreadable_images(make_folder, tmp_path, caplog, workers):
    folder = make_folder(200)
    bad = spoil(folder, 11, 12)
    data = FaceFolder(folder, views=AlbumentationsViews(16), image_size=16, batch_size=8, num_workers=workers)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path / "run",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="pcfrl_lightning"):
        trainer.fit(Plain(), data)
    messages = [record.message for record in caplog.records if record.name.startswith("pcfrl_lightning")]
    assert len(messages) == 1
    assert "2 of 200 images cannot be read and were replaced" in messages[0]
    listed = (tmp_path / "run" / "unreadable_faces_train.txt").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in listed) == bad


def test_ranks_keep_each_other_s_names_and_share_one_percent(tmp_path, caplog):
    logs = [UnreadableLog("faces/train", 300, tmp_path, rank, 2) for rank in range(2)]
    logs[0].add([("a.jpg", "empty file")])
    logs[1].add([("b.jpg", "truncated"), ("a.jpg", "empty file")])
    logs[0].add([("c.jpg", "empty file")])
    assert (tmp_path / "unreadable_faces_train.txt").read_text() == "a.jpg\tempty file\nc.jpg\tempty file\n"
    assert (tmp_path / "unreadable_faces_train_rank1.txt").read_text() == "b.jpg\ttruncated\na.jpg\tempty file\n"
    with caplog.at_level(logging.WARNING):
        for record in logs:
            record.summarise("replaced")
    (message,) = [record.message for record in caplog.records]  # of 3 images, by rank 0
    assert "3 of 300 images cannot be read and were replaced" in message
    assert "unreadable_faces_train_rank1.txt" in message
    with pytest.raises(DataError, match=r"4 of 300 images .* the first is b.jpg .*train.txt and .*train_rank1.txt"):
        logs[1].add([("d.jpg", "empty file")])


def test_the_list_of_an_earlier_run_is_not_counted(tmp_path):
    UnreadableLog("faces/train", 100, tmp_path, 1, 2).add([("a.jpg", "empty file")])
    logs = [UnreadableLog("faces/train", 100, tmp_path, rank, 2) for rank in range(2)]
    logs[0].add([("b.jpg", "empty file")])
    assert [path.name for path in tmp_path.iterdir()] == ["unreadable_faces_train.txt"]


def test_training_stops_at_many_unreadable_images(make_folder, tmp_path):
    folder = make_folder(60)
    spoil(folder, *range(10, 20))
    data = FaceFolder(folder, views=AlbumentationsViews(16), image_size=16, batch_size=8, num_workers=0)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"of 60 images cannot be read \(more than 1 %\), the first is p\d/"):
        trainer.fit(Plain(), data)


def test_a_folder_of_unreadable_images_only(make_folder):
    folder = make_folder(20)
    spoil(folder, *range(20))
    data = FaceFolder(folder, views=AlbumentationsViews(16), image_size=16, batch_size=8, num_workers=0)
    data.setup("fit")
    with pytest.raises(DataError, match="in a row cannot be read"):
        next(iter(data.train_dataloader()))


def test_a_list_that_cannot_be_written_stops_no_run(make_folder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "file/below"))
    folder = make_folder(150)
    spoil(folder, 7)
    assert len(without_unreadable(labelled(folder))) == 149
    assert "the list of unreadable images cannot be kept" in caplog.text
    bad = spoil(folder, 9, 11)
    with pytest.raises(DataError, match=rf"3 of 150 .*; replace or remove the files listed in .*{bad[0]}"):
        without_unreadable(labelled(folder))
