"""Training from a pack: what an epoch shows, people held out, URLs, an exact resume, and an index of full size."""

import pickle
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from packing import PLAN, count, make_pack
from pcfrl_lightning.data import EpochSampler, VoxCeleb
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.loaders import ViewBatches
from pcfrl_lightning.data.packs import Pack
from pcfrl_lightning.data.packs.pack import PackFrames
from pcfrl_lightning.data.packs.storage import Storage
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.errors import DataError
from tiny import tiny_model, trainer

META = "ID,Name,Gender,Set\nid0 ,a ,m ,dev \nid2 ,b ,f ,test \n"


class Whole(Views):
    """The image as it is."""

    def sample(self, image, rng):
        return {"image": image}

    def batch(self, batch, keys, generator):
        return batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_pack(tmp_path_factory.mktemp("pack"))


def shown(data: VoxCeleb, epochs: int = 1) -> list[list[tuple[int, int]]]:
    """(clip, frame) of every image of some epochs, as the colours of the frames tell."""
    data.setup("fit")
    loader = data.train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        pixels = torch.cat([batch["image"][:, :2, 0, 0] for batch in loader])
        found.append([(int(clip), int(frame)) for clip, frame in pixels])
    return found


def module(root: object, **options: object) -> VoxCeleb:
    return VoxCeleb(root, **{"views": Whole(), "image_size": 8, "batch_size": 2, "num_workers": 0, **options})


def test_a_frame_that_is_no_image_is_replaced_and_counted(tmp_path):
    folder = make_pack(tmp_path / "pack", codec="jpeg", quality=95)
    part, pack = folder / "part-00001.bin", Pack(folder)
    first, data = int(pack.clips[7]["first"]), int(pack.clips[7]["data"])
    end = data + int(pack.ends[first + count(7) - 1])
    whole = part.read_bytes()
    part.write_bytes(whole[:data] + bytes(end - data) + whole[end:])  # all frames of one clip
    batches = ViewBatches(FaceSet(PackFrames(pack), {}, name="pack/train"), Whole(), seed=0)
    batch = batches.__getitems__([(0, row) for row in (6, 7, 9)])
    assert torch.allclose(batch["image"][:, 0, 0, 0].float(), torch.tensor([6.0, 8.0, 9.0]), atol=2)
    ((name, reason),) = batch["unreadable"]
    assert name.startswith("id1/video1/00001.mp4 frame ")
    assert "part-00001.bin" in reason


def test_an_epoch_shows_a_random_frame_of_every_clip(folder):
    epochs = shown(module(folder, item="clip"), 40)
    for epoch in epochs:
        assert sorted(clip for clip, _ in epoch) == list(range(12))
    frames = Counter(pair for epoch in epochs for pair in epoch)
    assert set(frames) == {(clip, frame) for clip in range(12) for frame in range(count(clip))}
    assert len({tuple(epoch) for epoch in epochs}) == 40


def test_an_epoch_shows_a_random_frame_of_a_random_clip_of_every_video(folder):
    epochs = shown(module(folder), 80)
    for epoch in epochs:
        assert sorted(clip // 2 for clip, _ in epoch) == list(range(6))
    assert {pair for epoch in epochs for pair in epoch} == {(c, f) for c in range(12) for f in range(count(c))}


def test_ranks_share_an_epoch(folder):
    source = PackFrames(Pack(folder), "clip")
    keys = [list(EpochSampler(source, 3, rank, epoch=5)) for rank in range(3)]
    assert [len(each) for each in keys] == [4, 4, 4]
    assert sorted(key for each in keys for key in each) == [(5, clip) for clip in range(12)]


def test_names_and_middle_frames(folder):
    pack = Pack(folder)
    clips, videos = PackFrames(pack, "clip"), PackFrames(pack, "video")
    assert [clips.name(row) for row in range(12)] == ["/".join(names) for names in PLAN]
    assert [videos.name(row) for row in range(6)] == ["/".join(names[:2]) for names in PLAN[::2]]
    assert [tuple(videos.read(row)[0, 0]) for row in range(6)] == [(2 * v, count(2 * v) // 2, 0) for v in range(6)]
    assert clips.fingerprint() != videos.fingerprint()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_url_gives_the_batches_of_the_folder(folder, workers):
    import fsspec

    fsspec.filesystem("memory").put(str(folder), "/training", recursive=True)
    expected = shown(module(folder, item="clip"))
    for url in ("memory://training", f"file://{folder}"):
        assert shown(module(url, item="clip", num_workers=workers)) == expected


def test_the_frames_of_a_batch_are_requested_at_the_same_time(folder):
    class Slow(Storage):
        together = threading.Barrier(4, timeout=30)

        def read(self, name, start=0, count=None):
            if name.startswith("part-"):
                self.together.wait()  # raises unless four requests are under way
            return super().read(name, start, count)

    faces = FaceSet(PackFrames(Pack(f"file://{folder}", Slow(f"file://{folder}")), "clip"))
    assert ViewBatches(faces, Whole(), 0).__getitems__([(0, clip) for clip in range(8)])["image"].shape == (8, 3, 8, 8)


def test_people_are_held_out_whole(folder):
    data = module(folder, item="clip", val_fraction=0.3)
    train, val = data.splits["train"], data.splits["val"]
    people = {split: {data.splits[split].source.name(row)[:3] for row in range(len(data.splits[split]))}
              for split in ("train", "val")}  # fmt: skip
    assert (len(train), len(val)) == (8, 4)
    assert people["train"] | people["val"] == {"id0", "id1", "id2"}
    assert not people["train"] & people["val"]
    assert set(train.class_names["identity"]) == people["train"]
    assert train.labels["identity"].tolist() == [0] * 4 + [1] * 4
    assert all(clip // 4 not in {int(p[2]) for p in people["val"]} for clip, _ in shown(data)[0])
    seeds = [module(folder, item="clip", val_fraction=0.3, seed=seed).splits["val"] for seed in range(10)]
    assert {name for val in seeds for name in val.class_names["identity"]} == {"id0", "id1", "id2"}
    with pytest.raises(ValueError, match=r"val_fraction must be in \[0, 1\), got 1"):
        module(folder, val_fraction=1)
    with pytest.raises(ValueError, match="item must be video or clip, got 'frame'"):
        module(folder, item="frame")


def test_official_test_speakers_form_a_split_of_their_own(folder, tmp_path):
    (tmp_path / "meta.csv").write_text(META)
    splits = module(folder, meta=tmp_path / "meta.csv").splits
    assert {name: faces.class_names["identity"] for name, faces in splits.items()} == {
        "train": ["id0"],
        "test": ["id2"],
    }
    assert [splits["test"].source.name(row) for row in range(2)] == ["id2/video0", "id2/video1"]


def test_a_list_of_directories_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"list_file names directories and .* is a pack; leave list_file out"):
        _ = module(folder, list_file=tmp_path / "list.txt").splits


def test_an_unfinished_pack_is_refused(folder, tmp_path):
    (tmp_path / "part-00000.bin.partial").write_bytes(b"")
    with pytest.raises(DataError, match="a pack that is not finished; prepare it to the end, or merge its shards"):
        _ = module(tmp_path).splits


class Stop(L.Callback):
    """Saves and ends a run after some steps."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise RuntimeError("stopped")


def test_a_run_interrupted_inside_an_epoch_ends_with_the_same_weights(tmp_path):
    folder = make_pack(tmp_path / "pack", size=32)

    def fit(resumed: Path | None, *callbacks: L.Callback) -> dict[str, torch.Tensor]:
        run, model = trainer(tmp_path, max_epochs=2, callbacks=list(callbacks)), tiny_model()
        run.fit(model, VoxCeleb(folder, item="clip", image_size=32, batch_size=4, num_workers=0), ckpt_path=resumed)
        return model.state_dict()

    whole = fit(None)
    with pytest.raises(RuntimeError, match="stopped"):
        fit(None, Stop(tmp_path / "half.ckpt", 4))
    resumed = fit(tmp_path / "half.ckpt")
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_the_index_holds_no_object_for_a_clip(folder, monkeypatch):
    """Set-up of a training set of many clips takes a few numbers a clip, and a worker gets no copy of the tables."""
    many = 200_000
    pack = Pack(folder)
    pack.clips, pack.ends = np.full(many, pack.clips[0]), np.tile(pack.ends[:3], many)
    pack.clips["frames"], pack.clips["first"] = 3, 3 * np.arange(many)
    pack.clips["video"], pack.clips["identity"] = np.arange(many) // 7, np.arange(many) // (many // 3 + 1)
    monkeypatch.setattr("pcfrl_lightning.data.folders.voxceleb.Pack", lambda _: pack)
    for item in ("clip", "video"):
        tracemalloc.start()
        faces = module(folder, item=item, val_fraction=0.3).build()["train"]
        peak, (objects, _) = tracemalloc.get_traced_memory()[1], tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * many
        assert objects < 40 * many
        assert len(pickle.dumps(faces)) < 40 * many
        assert faces.draw(len(faces) - 1, np.random.default_rng(0)).shape == (8, 8, 3)
