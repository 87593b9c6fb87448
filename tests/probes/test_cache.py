"""The cache returns what was extracted, survives kills and notices damage."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.host_copy import HostCopy
from pcfrl_lightning.networks.encoder import load_encoder
from pcfrl_lightning.probes.features.extract import EncoderFeatures
from pcfrl_lightning.probes.features.handmade import PixelFeatures
from pcfrl_lightning.probes.features.store import FeatureFile, cached_features


class Counting(PixelFeatures):
    """Counts the images it sees."""

    seen = 0

    def __call__(self, images):
        Counting.seen += len(images)
        return super().__call__(images)

    def fingerprint(self):
        return "counting"


@pytest.fixture
def split(faces):
    Counting.seen = 0
    return faces("tiny/test", {"expression": torch.zeros(23, dtype=torch.long)})


def extract(split, folder, extractor=None, **options):
    options = {"image_size": 16, "batch_size": 4, "chunk_rows": 10, "progress": False} | options
    return cached_features(extractor or Counting(), split, ["pixels"], cache_dir=folder, **options)


def direct(split):
    images = torch.from_numpy(np.stack([split.image(i) for i in range(len(split))])).permute(0, 3, 1, 2)
    return PixelFeatures()(images)["pixels"]


def test_rows_equal_a_direct_computation_and_are_computed_once(split, tmp_path):
    table = extract(split, tmp_path)
    assert (len(table), table.dim, table.nbytes) == (23, 256, 23 * 256 * 4)
    assert torch.equal(table.load(), direct(split))
    rows = torch.tensor([22, 0, 10, 9, 0, 19])
    assert torch.equal(table.gather(rows), direct(split)[rows])
    extract(split, tmp_path)
    assert Counting.seen == 23
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npy"]


def test_one_pass_gives_all_features_of_a_network(faces, checkpoint, tmp_path, monkeypatch):
    split = faces("tiny/test", {"expression": torch.zeros(5, dtype=torch.long)})
    extractor = EncoderFeatures(load_encoder(checkpoint), precision="float32")
    calls = []
    monkeypatch.setattr(EncoderFeatures, "__call__", counted(EncoderFeatures.__call__, calls))

    def table(*names):
        options = {"image_size": 32, "cache_dir": tmp_path, "batch_size": 2, "progress": False}
        return cached_features(extractor, split, names, **options)

    three = table("f_s", "f_f", "f_p")
    assert calls == [2, 2, 1]
    images = torch.from_numpy(np.stack([fit_square(split.image(i), 32) for i in range(5)])).permute(0, 3, 1, 2)
    expected = extractor.encoder.features(images)
    torch.testing.assert_close(three.load(), torch.cat([*expected.values()], 1), atol=1e-5, rtol=1e-4)
    both = table("f_p", "f_f")  # of the same pass
    assert calls == [2, 2, 1]
    joined = torch.cat([expected["f_p"], expected["f_f"]], 1)
    torch.testing.assert_close(both.gather(torch.tensor([4, 1])), joined[[4, 1]], atol=1e-5, rtol=1e-4)


def counted(function, calls):
    def call(self, images):
        calls.append(len(images))
        return function(self, images)

    return call


def test_key_follows_images_size_type_and_extractor_but_not_labels(split, faces, tmp_path):
    extract(split, tmp_path)
    relabelled = faces("tiny/test", {"expression": torch.ones(23, dtype=torch.long)})
    extract(relabelled, tmp_path)
    assert Counting.seen == 23
    extract(split, tmp_path, image_size=8)
    assert Counting.seen == 46
    extract(split, tmp_path, dtype="float16")
    other = faces("tiny/test", {"expression": torch.zeros(23, dtype=torch.long)}, seed=1)
    extract(other, tmp_path)
    assert Counting.seen == 92
    assert len(list(tmp_path.glob("*.npy"))) == 4


def test_float16_is_rounding_only_and_overflow_is_refused(split, tmp_path):
    table = extract(split, tmp_path, dtype="float16")
    torch.testing.assert_close(table.load().float(), direct(split), atol=0, rtol=5e-4)

    class Huge(PixelFeatures):
        def __call__(self, images):
            return {"pixels": torch.full((len(images), 2), 1e6)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(DataError, match=r"not finite .*cache_dtype"):
            extract(split, tmp_path, Huge(), dtype="float16")


def test_a_file_cut_short_is_extracted_again(split, tmp_path):
    extract(split, tmp_path)
    (path,) = tmp_path.glob("*.npy")
    os.truncate(path, path.stat().st_size - 100)
    Counting.seen = 0
    table = extract(split, tmp_path)
    assert Counting.seen == 23
    assert torch.equal(table.load(), direct(split))


@pytest.mark.parametrize("begin", [b"\0" * 10, b"PK\3\4", b"\x93NUMPY\xff"])
def test_a_file_that_is_no_array_is_named(split, tmp_path, begin):
    extract(split, tmp_path)
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(begin + path.read_bytes()[len(begin) :])
    with pytest.raises(DataError, match=rf"{path}: damaged \(.*\); remove it"):
        extract(split, tmp_path)
    path.unlink()
    assert torch.equal(extract(split, tmp_path).load(), direct(split))


@pytest.mark.parametrize("content", ["{ broken", "{}", "[]", '{"rows": 23}', '{"rows": "x", "bytes": 1}'])
def test_rows_without_a_note_are_not_believed(split, tmp_path, content):
    extract(split, tmp_path)
    next(tmp_path.glob("*.json")).write_text(content)
    Counting.seen = 0
    extract(split, tmp_path)
    assert Counting.seen == 23


def test_a_second_process_does_not_undo_the_first(split, tmp_path):
    """Both begin with nothing; what one has written stays while the other writes the same."""
    first, second = (FeatureFile(tmp_path / "f.npy", {}) for _ in range(2))
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    first.write(0, values[:4], 6)
    second.write(0, values[:2], 6)
    assert FeatureFile(tmp_path / "f.npy", {}).rows == 2  # the lower claim
    first.write(4, values[4:], 6)
    assert FeatureFile(tmp_path / "f.npy", {}).rows == 6
    assert np.array_equal(np.load(tmp_path / "f.npy"), values)


def test_killed_extraction_resumes_behind_the_last_chunk(split, tmp_path):
    np.save(tmp_path / "images.npy", split.source.array)
    script = tmp_path / "extract.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            import numpy as np, torch
            from pcfrl_lightning.data.faceset import FaceSet
            from pcfrl_lightning.data.images.sources import ArraySource
            from pcfrl_lightning.probes.features.handmade import PixelFeatures
            from pcfrl_lightning.probes.features.store import cached_features

            class Slow(PixelFeatures):
                seen = 0
                def fingerprint(self):
                    return "counting"
                def __call__(self, images):
                    Slow.seen += len(images)
                    if Slow.seen > 13:
                        print("in the second chunk", flush=True)
                        time.sleep(60)
                    return super().__call__(images)

            faces = FaceSet(ArraySource(np.load(sys.argv[1])), name="tiny/test")
            cached_features(Slow(), faces, ["pixels"], image_size=16, cache_dir=sys.argv[2], batch_size=4,
                            chunk_rows=10, progress=False)
            """
        )
    )
    folder = tmp_path / "cache"
    command = [sys.executable, str(script), str(tmp_path / "images.npy"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "in the second chunk"
    for _ in range(500):  # the first one is written in a thread
        if list(folder.glob("*.json")):
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    table = extract(split, folder)
    assert Counting.seen == 11  # the first chunk was three batches
    assert torch.equal(table.load(), direct(split))


def test_unreadable_image_names_split_and_row(split, tmp_path):
    class Broken(ArraySource):
        def read(self, index):
            from pcfrl_lightning.data.images.sources import CorruptImage

            if index == 5:
                raise CorruptImage("five.jpg", "truncated")
            return super().read(index)

    split.source = Broken(split.source.array)
    with pytest.raises(DataError, match=r"tiny/test: image 5 cannot be read: five\.jpg"):
        extract(split, tmp_path)


class OnDevice(PixelFeatures):
    """Features as of a device whose values the host cannot read."""

    def __call__(self, images):
        return {"pixels": torch.empty(len(images), 2, device="meta")}


def test_features_stay_on_the_device_to_the_end_of_a_chunk(split, tmp_path, monkeypatch):
    """One copy for each chunk, none for each batch: reading a value of the device `meta` is an error."""
    copies = []
    monkeypatch.setattr(HostCopy, "read", lambda self: copies.append(self.values) or torch.zeros(self.values.shape))
    table = extract(split, tmp_path, OnDevice(), chunk_rows=8)
    assert [(len(each), each.device.type) for each in copies] == [(8, "meta"), (8, "meta"), (7, "meta")]
    assert (len(table), table.dim) == (23, 2)


def test_writing_overlaps_with_the_next_chunk(split, tmp_path, monkeypatch):
    """A chunk is on its way while the network sees the next images: each waits for the other to have begun."""
    together, batches, chunks = threading.Barrier(2, timeout=30), itertools.count(), itertools.count()

    class Meeting(Counting):
        def __call__(self, images):
            if next(batches) in (2, 4):  # the first batches of the second and the third chunk
                together.wait()
            return super().__call__(images)

    def read(self):
        if next(chunks) < 2:
            together.wait()
        return self.values

    monkeypatch.setattr(HostCopy, "read", read)
    table = extract(split, tmp_path, Meeting(), chunk_rows=8)
    assert (next(batches), next(chunks)) == (6, 3)
    assert torch.equal(table.load(), direct(split))


@pytest.mark.parametrize(("marked", "bad", "counted"), [(6, 5, 0), (22, 21, 16)])
def test_a_feature_that_is_not_finite_names_its_image(split, tmp_path, marked, bad, counted):
    """In the first chunk and in the last one, behind which nothing is computed."""

    class Broken(PixelFeatures):
        def __call__(self, images):
            values = images.flatten(1)[:, :2].float()
            values[1, 1] = torch.nan if (images == split_image(marked)).flatten(1).all(1).any() else 0
            return {"pixels": values}

    def split_image(row):
        return torch.from_numpy(split.image(row)).permute(2, 0, 1)

    with pytest.raises(DataError, match=f"feature pixels is not finite for image {bad};"):
        extract(split, tmp_path, Broken(), chunk_rows=8)
    assert sum(json.loads(path.read_text())["rows"] for path in tmp_path.glob("*.json")) == counted


def test_full_disk_is_refused_beforehand(split, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="another cache_dir or use cache_dtype: float16"):
        extract(split, tmp_path)
    assert Counting.seen == 4  # the first batch tells how long a row is


def test_small_images_are_not_enlarged_for_baselines(split, tmp_path):
    assert extract(split, tmp_path, image_size=100).dim == 256
    assert extract(split, tmp_path, image_size=8).dim == 64
