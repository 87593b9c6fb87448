"""The cache returns what was extracted, survives kills and notices damage."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import torch

from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.features.extract import NetworkFeatures
from pcfrl_lightning.probes.features.handmade import PixelFeatures
from pcfrl_lightning.probes.features.store import FeatureTable, cached_features


class Counting(PixelFeatures):
    """Counts the images it sees."""

    name = "pixels"
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
    options = {"image_size": 16, "batch_size": 4, "shard_rows": 10, "progress": False} | options
    return cached_features(extractor or Counting(), split, ["pixels"], cache_dir=folder, **options)["pixels"]


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
    assert sorted(p.suffix for p in next(tmp_path.iterdir()).iterdir()) == [".json", ".npy", ".npy", ".npy"]


def test_one_pass_gives_all_features_of_a_network(faces, checkpoint, tmp_path):
    split = faces("tiny/test", {"expression": torch.zeros(5, dtype=torch.long)})
    extractor = NetworkFeatures(checkpoint)
    tables = cached_features(
        extractor, split, ["f_s", "f_f", "f_p"], image_size=32, cache_dir=tmp_path, batch_size=2, progress=False
    )
    both = FeatureTable.side_by_side([tables["f_f"], tables["f_p"]])
    assert both.dim == sum(extractor.dim(32)[name] for name in ("f_f", "f_p"))
    from pcfrl_lightning.data.loaders import fit_square

    images = torch.from_numpy(np.stack([fit_square(split.image(i), 32) for i in range(5)])).permute(0, 3, 1, 2)
    expected = extractor(images)
    torch.testing.assert_close(tables["f_s"].load(), expected["f_s"], atol=1e-5, rtol=1e-4)
    joined = torch.cat([expected["f_f"], expected["f_p"]], 1)
    torch.testing.assert_close(both.gather(torch.tensor([4, 1])), joined[[4, 1]], atol=1e-5, rtol=1e-4)


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
    assert len(list(tmp_path.iterdir())) == 4


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


def test_damaged_shard_is_found_and_extracted_again(split, tmp_path):
    extract(split, tmp_path)
    shard = next(tmp_path.glob("*/00001.npy"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    Counting.seen = 0
    with pytest.warns(UserWarning, match=r"00001\.npy are damaged"):
        table = extract(split, tmp_path)
    assert Counting.seen == 10
    assert torch.equal(table.load(), direct(split))


def test_shard_without_manifest_entry_is_not_believed(split, tmp_path):
    extract(split, tmp_path)
    next(tmp_path.glob("*/manifest.json")).write_text("{ broken")
    Counting.seen = 0
    extract(split, tmp_path)
    assert Counting.seen == 23


def test_killed_extraction_resumes_behind_the_last_shard(split, tmp_path):
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
                name, seen = "pixels", 0
                def fingerprint(self):
                    return "counting"
                def __call__(self, images):
                    Slow.seen += len(images)
                    if Slow.seen > 13:
                        print("in the second shard", flush=True)
                        time.sleep(60)
                    return super().__call__(images)

            faces = FaceSet(ArraySource(np.load(sys.argv[1])), name="tiny/test")
            cached_features(Slow(), faces, ["pixels"], image_size=16, cache_dir=sys.argv[2], batch_size=4,
                            shard_rows=10, progress=False)
            """
        )
    )
    folder = tmp_path / "cache"
    command = [sys.executable, str(script), str(tmp_path / "images.npy"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "in the second shard"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(folder.glob("*/*.npy"))) == 1
    table = extract(split, folder)
    assert Counting.seen == 13
    assert torch.equal(table.load(), direct(split))


def test_stale_leftovers_of_a_kill_are_removed(split, tmp_path):
    extract(split, tmp_path)
    leftover = next(tmp_path.iterdir()) / "00000.npy.1.part"
    leftover.write_bytes(b"half a shard")
    os.utime(leftover, (time.time() - 7200,) * 2)
    extract(split, tmp_path)
    assert not leftover.exists()


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


def test_full_disk_is_refused_beforehand(split, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="another cache_dir or use cache_dtype: float16"):
        extract(split, tmp_path)
    assert Counting.seen == 0


def test_small_images_are_not_enlarged_for_baselines(split, tmp_path):
    assert extract(split, tmp_path, image_size=100).dim == 256
    assert extract(split, tmp_path, image_size=8).dim == 64
