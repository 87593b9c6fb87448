"""A run that ends at any moment is continued to the same file."""

import io
import pickle
import struct

import numpy as np
import pytest
import torch

from pcfrl_lightning.data.images.decode import CorruptImage
from pcfrl_lightning.embedding import Input, Job, embed_to_file, run
from pcfrl_lightning.embedding.videos import Item
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.files import alone


def pictures(total, broken=(), prefix="p", live=False):
    """Synthetic pictures: the grey value is the number; some cannot be read."""

    def item(number):
        def read():
            if number in broken:
                raise CorruptImage(f"{prefix}{number}", "broken")
            return np.full((8, 8, 3), number % 256, np.uint8)

        return Item(f"{prefix}{number}", read, number / 10, number)

    return Input(lambda start: map(item, range(start, total)), lambda: total, live)


class Means:
    """Mean and size of each batch as features; ends the process in a given batch."""

    def __init__(self, end=None, error=SystemExit):
        self.left, self.error, self.pictures = end, error, 0

    def __call__(self, images):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise self.error
        self.pictures += len(images)
        values = images.float().mean((1, 2, 3))
        return {"f_s": torch.stack([values, values * 0 + len(images)], 1), "f_p": values[:, None]}


def job(extract, inputs=None, **settings):
    inputs = inputs or {"a": pictures(70, broken={3, *range(24, 32)}), "b": pictures(45, prefix="q")}
    return Job(inputs, extract, 8, ("f_s", "f_p"), {"size": 8, **settings}, batch_size=8)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(run, "_PART", 16)


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_a_run_that_was_ended_anywhere_gives_the_same_bytes(tmp_path, form):
    pytest.importorskip("pyarrow")
    report = embed_to_file(job(Means()), tmp_path / f"whole.{form}", form)
    assert (report.rows, len(report.unreadable), report.widths) == (106, 9, {"f_s": 2, "f_p": 1})
    assert report.unreadable[0] == "a/p3 (frame 3): broken"
    whole = (tmp_path / f"whole.{form}").read_bytes()
    out, done = tmp_path / f"out.{form}", set()
    for end in range(14):  # batches with pictures; one of the 15 has none
        with pytest.raises(SystemExit):
            embed_to_file(job(Means(end)), out, form)
        (tmp_path / f"out.{form}.parts/99999999.npz.part").write_bytes(b"half of a part")
        again = Means()
        report = embed_to_file(job(again), out, form)
        assert out.read_bytes() == whole
        assert again.pictures == 106 - sum(number not in {3, *range(24, 32)} for number in range(report.resumed))
        done.add(report.resumed)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"out.{form}", f"whole.{form}"]
    assert done == {0, 16, 32, 48, 64, 80, 96, 112}


def test_the_columns(tmp_path):
    embed_to_file(job(Means()), tmp_path / "f.npz", "npz")
    data = np.load(tmp_path / "f.npz")
    kept = [number for number in range(70) if number not in {3, *range(24, 32)}]
    assert data.files == ["name", "index", "frame", "time", "f_s", "f_p", "about.json"]
    assert data["name"].tolist() == [f"a/p{n}" for n in kept] + [f"b/q{n}" for n in range(45)]
    assert data["index"].tolist() == kept + list(range(70, 115))
    assert data["frame"].tolist() == kept + list(range(45))
    np.testing.assert_allclose(data["time"], data["frame"] / 10)
    assert data["f_p"][:, 0].tolist() == data["frame"].tolist()
    assert data["f_s"][:8, 1].tolist() == [7] * 7 + [8]


def test_numbers_are_stored_so_that_they_can_be_mapped(tmp_path):
    import zipfile

    embed_to_file(job(Means()), tmp_path / "f.npz", "npz")
    with zipfile.ZipFile(tmp_path / "f.npz") as archive:
        assert {info.filename for info in archive.infolist() if info.compress_type} == {"name.npy"}
        archive.extract("f_s.npy", tmp_path)
    assert np.load(tmp_path / "f_s.npy", mmap_mode="r").shape == (106, 2)


def test_an_earlier_file_stays_until_the_new_one_is_complete(tmp_path):
    out = tmp_path / "f.npz"
    embed_to_file(job(Means()), out, "npz")
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(job(Means(5, KeyboardInterrupt)), out, "npz")
    assert out.read_bytes() == before


def test_other_settings_and_other_pictures_are_refused(tmp_path):
    out = tmp_path / "f.npz"
    with pytest.raises(SystemExit):
        embed_to_file(job(Means(6)), out, "npz")
    with pytest.raises(DataError, match="holds an unfinished run with size 8, not 9"):
        embed_to_file(job(Means(), size=9), out, "npz")
    for total, prefix in ((70, "r"), (20, "p")):
        changed = {"a": pictures(total, prefix=prefix), "b": pictures(45, prefix="q")}
        with pytest.raises(DataError, match="a has changed since the run began: picture 47 was a/p47"):
            embed_to_file(job(Means(), changed), out, "npz")
    assert not out.exists()


class Harm:
    def __reduce__(self):
        return pytest.fail, ("run",)


def archive(**arrays):
    np.savez(content := io.BytesIO(), allow_pickle=True, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("settings.json", text) for text in (b"", b"[1]", b"7", b"\xff\xfe", b"[" * 300_000)),
        ("00000000.npz", b""),
        ("00000000.npz", pickle.dumps(Harm())),
        ("00000000.npz", archive(place=np.array([Harm()], object))),
        ("00000000.npz", archive(other=np.zeros(3))),
    ],
)
def test_what_was_left_by_an_interrupted_run_and_is_damaged_is_one_error(tmp_path, name, content):
    with pytest.raises(SystemExit):
        embed_to_file(job(Means(6)), tmp_path / "f.npz", "npz")
    for part in (tmp_path / "f.npz.parts").glob("*.npz"):
        part.unlink()
    (tmp_path / "f.npz.parts" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: damaged .*; remove .*f\.npz\.parts to begin again"):
        embed_to_file(job(Means()), tmp_path / "f.npz", "npz")


def test_features_that_are_not_finite_are_refused(tmp_path):
    def broken(images):
        return {"f_s": torch.full((len(images), 2), float("nan")), "f_p": torch.zeros(len(images), 1)}

    with pytest.raises(UsageError, match="f_s is not finite for pictures 0 to 7"):
        embed_to_file(job(broken), tmp_path / "f.npz", "npz")
    assert not (tmp_path / "f.npz").exists()


def test_no_room_on_the_disk_is_said_and_the_features_are_kept(tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "free")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: usage(10))
        with pytest.raises(UsageError, match="make room and repeat the command"):
            embed_to_file(job(Means()), tmp_path / "f.npz", "npz")
    again = Means()
    assert embed_to_file(job(again), tmp_path / "f.npz", "npz").rows == 106
    assert again.pictures == 0


def test_a_camera_is_ended_by_an_interruption_and_begins_anew(tmp_path):
    cameras = {"webcam": pictures(1000, live=True)}
    for _ in range(2):
        report = embed_to_file(job(Means(5, KeyboardInterrupt), cameras), tmp_path / "f.npz", "npz")
        assert (report.rows, report.resumed) == (40, 0)
    assert np.load(tmp_path / "f.npz")["frame"].tolist() == list(range(40))


def test_faces_are_cut_out_before_they_are_resized(tmp_path):
    each = job(Means())
    each.crop = lambda image, name: image[:4, :4] // 2
    embed_to_file(each, tmp_path / "f.npz", "npz")
    data = np.load(tmp_path / "f.npz")
    assert data["f_p"][:, 0].tolist() == (data["frame"] // 2).tolist()


DAMAGED = b"no directory" * 4 + b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, 46, 2, 0)  # an end that tells of one


@pytest.mark.parametrize("content", [b"\xff\xd8 a photo", b"", b"PK no zip", DAMAGED])
def test_a_file_of_something_else_is_not_replaced(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.jpg is there and holds no features"):
        embed_to_file(job(Means()), tmp_path / "a.jpg", "npz")
    np.savez(tmp_path / "mine.npz", x=1)
    with pytest.raises(UsageError, match=r"mine\.npz is there and holds no features"):
        embed_to_file(job(Means()), tmp_path / "mine.npz", "npz")
    assert (tmp_path / "a.jpg").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "mine.npz"]


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_a_file_of_features_is_replaced(tmp_path, form):
    pytest.importorskip("pyarrow")
    for total in (5, 9):
        report = embed_to_file(job(Means(), {"a": pictures(total)}), tmp_path / "f", form)
        assert report.rows == total


def test_one_process_at_a_time_writes_a_file(tmp_path):
    with alone(tmp_path / "f.npz.parts"), pytest.raises(UsageError, match=r"another process works in .*f\.npz\.parts"):
        embed_to_file(job(Means()), tmp_path / "f.npz", "npz")
    assert embed_to_file(job(Means()), tmp_path / "f.npz", "npz").rows == 106


def test_a_run_that_failed_before_its_first_part_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        embed_to_file(job(Means(0, ZeroDivisionError)), tmp_path / "f.npz", "npz")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError):
        embed_to_file(job(Means(6, ZeroDivisionError)), tmp_path / "f.npz", "npz")
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz.parts"]
