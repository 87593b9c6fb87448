"""`data.cache`: images decoded once give the batches of images decoded every time."""

import json
import os
import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch

from host_syncs import HostSyncs
from pcfrl_lightning.data import AlbumentationsViews, AutoViews, DeviceViews, FaceFolder
from pcfrl_lightning.data.images import decoded
from pcfrl_lightning.data.images.decoded import DecodedImages, decode_once
from pcfrl_lightning.data.images.listing import open_images
from pcfrl_lightning.data.images.sources import ArraySource, ConcatSource, CorruptImage, FileSource, SubsetSource
from pcfrl_lightning.data.images.video_frames import VideoFrames
from pcfrl_lightning.data.loaders import ResidentImages
from pcfrl_lightning.data.packs.pack import PackFrames
from pcfrl_lightning.data.quality.unreadable import cache_folder
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.synthetic import SyntheticFaces
from pictures import noise
from tiny import tiny_model, trainer


class Counting(ArraySource):
    """Counts what is decoded; chosen images cannot be."""

    always_readable = False

    def __init__(self, count=10, broken=()):
        super().__init__(noise(count))
        self.broken, self.seen = broken, []

    def read(self, index):
        self.seen.append(index)
        if index in self.broken:
            raise CorruptImage(self.name(index), "truncated")
        return super().read(index)


class Collected(L.Callback):
    """The view batches of a run."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append({name: value.clone() for name, value in batch.items()})


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def train(tmp_path, root, cache, views, workers=0, epochs=2, **options):
    seen = Collected()
    run = trainer(tmp_path, max_epochs=epochs, callbacks=[seen], **options)
    data = FaceFolder(root, views=views(), image_size=32, batch_size=4, num_workers=workers, cache=cache)
    L.seed_everything(0)
    run.fit(tiny_model(), data)
    return seen.batches


def equal(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("views", [AlbumentationsViews, DeviceViews, AutoViews], ids=lambda views: views.__name__)
def test_batches_are_those_of_images_decoded_every_time(tmp_path, make_folder, views):
    folder = make_folder(9)
    expected = train(tmp_path, folder, "none", views)
    assert not (cache_folder() / "decoded").exists()
    for cache, workers in (("disk", 0), ("disk", 2), ("memory", 0), ("memory", 2)):
        equal(train(tmp_path, folder, cache, views, workers), expected)
    assert len(list((cache_folder() / "decoded").iterdir())) == 1


@pytest.mark.parametrize("cache", ["disk", "memory"])
def test_no_image_is_decoded_in_training(tmp_path, make_folder, monkeypatch, cache):
    folder, reads, read = make_folder(9), [], FileSource.read
    monkeypatch.setattr(FileSource, "read", lambda source, row: reads.append(row) or read(source, row))
    train(tmp_path, folder, cache, AlbumentationsViews)
    assert sorted(reads) == list(range(9))
    train(tmp_path, folder, cache, DeviceViews)  # a later run finds them
    assert len(reads) == 9


def test_in_memory_with_views_on_the_device_the_loader_reads_nothing(tmp_path, make_folder):
    data = FaceFolder(make_folder(9), views=DeviceViews(), image_size=32, batch_size=4, num_workers=2, cache="memory")
    data.setup("fit")
    loader = data.train_dataloader()
    assert loader.num_workers == 0
    batch = next(iter(loader))
    assert {name: getattr(value, "shape", None) for name, value in batch.items()} == {
        "keys": (4, 2),
        "batch_seed": None,
    }
    views = data.on_after_batch_transfer(batch, 0)
    assert views["source"].shape == (4, 3, 32, 32)
    data.teardown("fit")
    assert data._resident is None


def test_a_row_is_taken_from_the_device_without_a_wait(store):
    source = Counting()
    images = DecodedImages(source, decode_once(source, store, "noise"))
    resident = ResidentImages(images, DeviceViews(32), torch.device("cpu"))
    rows = torch.tensor([7, 0, 7])
    with HostSyncs() as syncs:
        batch = resident.rows(rows)
    assert syncs.found == []
    assert torch.equal(batch["image"], torch.from_numpy(noise(10)[[7, 0, 7]]).permute(0, 3, 1, 2))


def test_images_of_different_sizes_stay_on_the_device_as_squares(tmp_path, make_folder):
    folder = make_folder(5)
    make_folder(3, "faces/other", size=(30, 40))
    data = FaceFolder(folder, views=DeviceViews(), image_size=32, batch_size=4, num_workers=0, cache="memory")
    data.setup("fit")
    (batch,) = data._resident._batch.values()
    assert batch.shape == (8, 3, 64, 64)


@pytest.mark.parametrize("views", [AlbumentationsViews, DeviceViews], ids=lambda views: views.__name__)
def test_an_unreadable_image_is_replaced_by_the_next_and_listed(tmp_path, make_folder, caplog, views):
    folder = make_folder(120)
    broken = sorted(folder.rglob("*.jpg"))[119]
    broken.write_bytes(b"")
    expected = train(tmp_path, folder, "none", views, epochs=1)
    for cache in ("disk", "memory"):
        caplog.clear()
        equal(train(tmp_path, folder, cache, views, epochs=1), expected)
        assert "1 of 120 images cannot be read and were replaced by others in training" in caplog.text
        assert broken.name in (tmp_path / "unreadable_faces_train.txt").read_text()


def test_more_than_one_percent_of_them_is_an_error(tmp_path, make_folder):
    folder = make_folder(20)
    sorted(folder.rglob("*.jpg"))[3].write_bytes(b"")
    for cache in ("disk", "memory"):
        with pytest.raises(DataError, match="1 of 20 images cannot be read"):
            train(tmp_path, folder, cache, DeviceViews, epochs=1)


def test_images_and_reasons_are_those_of_the_source(store):
    source = Counting(broken=(0, 4))
    for in_memory in (False, True):
        images = DecodedImages(source, decode_once(source, store, "noise"), in_memory)
        assert sorted(source.seen) == sorted([*range(10), *([0, 4] if in_memory else [])])  # tried again
        assert (len(images), images.name(3), images.fingerprint()) == (10, "3", source.fingerprint())
        for twin in (images, pickle.loads(pickle.dumps(images))):
            for row in set(range(10)) - {0, 4}:
                assert np.array_equal(twin.read(row), source.array[row])
            for row in (0, 4):
                with pytest.raises(CorruptImage, match=f"{row}.*truncated"):
                    twin.read(row)
            for row in (-1, 10):
                with pytest.raises(IndexError):
                    twin.read(row)
        assert isinstance(images._pixels, np.memmap) is not in_memory
    assert len(pickle.dumps(images)) < 1.5 * source.array.nbytes  # the source; a worker opens the file itself


def test_images_that_could_not_be_read_for_a_while_are_decoded_again(store):
    """A network folder that was away: nothing of that stays. Who reads the old file goes on reading it."""
    away = Counting(broken=range(3, 8))
    before = DecodedImages(away, decode_once(away, store, "noise"))
    back = Counting()
    images = DecodedImages(back, decode_once(back, store, "noise"))
    assert sorted(back.seen) == sorted([3, *range(10)])  # one is tried, then all
    assert all(np.array_equal(images.read(row), back.array[row]) for row in range(10))
    assert np.array_equal(before.read(9), back.array[9])
    again = Counting()
    decode_once(again, store, "noise")
    assert again.seen == []


def test_no_image_can_be_read(store, tmp_path, make_folder):
    source = Counting(broken=range(10))
    images = DecodedImages(source, decode_once(source, store, "noise"))
    with pytest.raises(CorruptImage):
        images.read(0)
    folder = make_folder(8)
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    for cache, views in (("disk", AlbumentationsViews), ("memory", DeviceViews)):
        with pytest.raises(DataError, match=r"images (in a row )?cannot be read"):
            train(tmp_path, folder, cache, views)


def test_a_row_that_was_begun_before_a_kill_and_fails_now_has_no_pixels(store):
    source = Counting()
    folder = decode_once(source, store, "noise")
    note = json.loads((folder / "done.json").read_text())
    size = source.array[0].size
    (folder / "done.json").write_text(json.dumps({**note, "rows": 6, "bytes": 6 * size}))
    broken = Counting(broken=[6])
    images = DecodedImages(broken, decode_once(broken, store, "noise"))
    assert all(np.array_equal(images.read(row), source.array[row]) for row in (5, 7, 9))


def test_a_changed_image_is_decoded_anew(store, make_folder):
    folder = make_folder(4)
    first = decode_once(open_images(folder), store, "faces")
    sorted(folder.rglob("*.jpg"))[1].write_bytes(sorted(folder.rglob("*.jpg"))[2].read_bytes())
    source = open_images(folder)
    second = decode_once(source, store, "faces")
    assert first != second
    assert np.array_equal(DecodedImages(source, second).read(1), source.read(1))


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from pcfrl_lightning.data.images import decoded
from pcfrl_lightning.data.images.sources import ArraySource

class Slow(ArraySource):
    def read(self, index):
        if index >= 5:
            print("in the second chunk", flush=True)
            time.sleep(60)
        return super().read(index)

decoded._CHUNK = 4
decoded.decode_once(Slow(np.load(sys.argv[1])), Path(sys.argv[2]), "noise")
"""


def test_a_killed_run_is_gone_on_with(tmp_path, store, monkeypatch):
    np.save(tmp_path / "noise.npy", noise(10))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "noise.npy"), str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("in the second chunk")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    source = Counting()
    (folder,) = (store / "decoded").iterdir()
    with (folder / "pixels.bin").open("ab") as file:  # what the killed one wrote last does not count
        file.write(b"half an image")
    images = DecodedImages(source, decode_once(source, store, "noise"))
    assert sorted(source.seen) == list(range(4, 10))
    assert all(np.array_equal(images.read(row), source.array[row]) for row in range(10))


def cut(folder):
    os.truncate(folder / "pixels.bin", 100)


def spoil(folder):
    (folder / "done.json").write_text('{"rows": 1')


def older(folder):
    note = json.loads((folder / "done.json").read_text())
    (folder / "done.json").write_text(json.dumps({**note, "format": 0}))


def other_length(folder):
    np.save(folder / "shapes.npy", np.zeros((3, 2), np.int64))


@pytest.mark.parametrize("harm", [cut, spoil, older, other_length])
def test_a_damaged_store_is_made_again(store, harm):
    folder = decode_once(Counting(), store, "noise")
    harm(folder)
    source = Counting()
    images = DecodedImages(source, decode_once(source, store, "noise"))
    assert sorted(source.seen) == list(range(10))
    assert all(np.array_equal(images.read(row), source.array[row]) for row in range(10))


def test_of_two_processes_one_waits_for_the_other(tmp_path, store):
    np.save(tmp_path / "noise.npy", noise(10))
    code = KILLED.replace("60", "0.05").replace('print("in the second chunk", flush=True)', "pass")
    command = [sys.executable, "-c", code, str(tmp_path / "noise.npy"), str(store)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    bars = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted("decode noise" in bar for bar in bars) == [False, True]
    source = Counting()
    images = DecodedImages(source, decode_once(source, store, "noise"))
    assert source.seen == []
    assert all(np.array_equal(images.read(row), source.array[row]) for row in range(10))


def test_a_disk_that_is_too_small_is_found_in_the_first_chunk(store, monkeypatch):
    monkeypatch.setattr(decoded, "_CHUNK", 2)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    source = Counting()
    with pytest.raises(DataError, match=r"cannot be kept in .*PCFRL_CACHE, or use cache: none"):
        decode_once(source, store, "noise")
    assert len(source.seen) == 2
    monkeypatch.undo()
    decode_once(source, store, "noise")
    assert len(source.seen) == 10


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"noise: .*file/decoded.* \(Not a directory\); choose another folder"):
        decode_once(Counting(), tmp_path / "file", "noise")


def test_images_that_do_not_fit_into_memory_are_refused(store, monkeypatch):
    source = Counting()
    folder = decode_once(source, store, "noise")
    monkeypatch.setattr(decoded, "_MEMORY", 1e-12)
    DecodedImages(source, folder)
    with pytest.raises(DataError, match=r"GB for decoded images and the machine has .* GB of memory; use cache: disk"):
        DecodedImages(source, folder, in_memory=True)
    with pytest.raises(DataError, match="use cache: disk"):
        ResidentImages(DecodedImages(source, folder), DeviceViews(32), torch.device("cpu"))


def test_sources_of_items_of_several_images():
    class Videos(ArraySource):
        varied = True

    still, moving = ArraySource(noise(2)), Videos(noise(2))
    assert VideoFrames(".", []).varied
    assert PackFrames.varied
    assert [ConcatSource([*pair]).varied for pair in ((still, still), (still, moving), (moving, moving))] == [0, 1, 1]
    assert [SubsetSource(source, [0]).varied for source in (still, moving)] == [False, True]


def test_views_chosen_for_a_gpu_can_stay_on_it():
    views = AutoViews(32)
    for device, stored in (("cuda", True), ("cpu", False)):
        views.use_device(torch.device(device))
        assert views.stored is stored


def test_an_unknown_kind_is_refused(tmp_path):
    for cache in ("disc", None):
        with pytest.raises(ValueError, match=f"cache must be none, disk or memory, got {cache!r}"):
            FaceFolder(tmp_path, cache=cache)


def test_items_of_several_images_are_refused(tmp_path):
    data = SyntheticFaces(
        train_size=40, identities=4, image_size=32, val_size=8, val_identities=4, test_size=400, test_identities=40,
        pairs_per_fold=4, whole_person=True, views=AlbumentationsViews(), batch_size=4, num_workers=0, cache="disk",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"synthetic/train: an item stands for several images.*use cache: none"):
        trainer(tmp_path, max_epochs=1).fit(tiny_model(), data)


def test_two_ranks(tmp_path, make_folder):
    """Decoded by one of them; each trains on its share."""
    options = {"devices": 2, "strategy": "ddp_fork", "use_distributed_sampler": False}
    folder = make_folder(17)
    for cache in ("none", "memory"):
        (tmp_path / cache).mkdir()
        run = trainer(tmp_path, max_epochs=2, **options)
        data = FaceFolder(folder, views=DeviceViews(), image_size=32, batch_size=4, num_workers=0, cache=cache)
        L.seed_everything(0)
        run.fit(tiny_model(), data)
        run.save_checkpoint(tmp_path / cache / "end.ckpt")
    first, second = (torch.load(tmp_path / cache / "end.ckpt", weights_only=True) for cache in ("none", "memory"))
    for name, value in first["state_dict"].items():
        assert torch.equal(second["state_dict"][name], value), name
