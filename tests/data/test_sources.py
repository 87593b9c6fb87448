import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.data.images.sources import (
    ArraySource,
    ConcatSource,
    FileSource,
    SubsetSource,
    inside,
    is_image_name,
)
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.errors import DataError


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_give_their_pixels(rgb, form):
    options = {"lossless": True} if form == "WEBP" else {}
    np.testing.assert_array_equal(decode(encode(Image.fromarray(rgb), form, **options), "x"), rgb)


def test_jpeg_agrees_with_pillow(rgb):
    smooth = np.repeat(np.repeat(rgb, 8, 0), 8, 1)
    data = encode(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode(data, "x") - expected).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "JPEG", "PPM"])
def test_grey_becomes_three_equal_channels(rgb, form):
    image = decode(encode(Image.fromarray(rgb[..., 0]), form), "x")
    assert image.shape == (12, 10, 3)
    assert (image == image[..., :1]).all()


def test_sixteen_bit_keeps_the_upper_bits():
    grey = (np.arange(120, dtype=np.uint16) * 500).reshape(12, 10)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(grey)), "x")[..., 1], grey >> 8)


@pytest.mark.parametrize("high", [1.0, 255.0])
def test_float_images_are_scaled(high):
    grey = np.linspace(0, high, 120, dtype=np.float32).reshape(12, 10)
    expected = (grey * (255 / high)).round().astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(grey), "TIFF"), "x")[..., 2], expected)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.5, np.nan], "ValueError: float pixels from nan"),
        ([0.5, np.inf], "to inf; expected"),
        ([-0.5, 0.5], "from -0.5 to 0.5; expected \\[0, 1\\], or 0 to 255"),
        ([0.0, 300.0], "from 0 to 300"),
    ],
)
def test_float_images_that_are_no_grey_values_are_corrupt(values, reason):
    data = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
    with pytest.raises(CorruptImage, match=f"a.tif: .*{reason}"):
        decode(data, "a.tif")


def test_integers_of_32_bits():
    def tiff(values):
        return encode(Image.fromarray(np.array([values], np.int32)), "TIFF")

    assert decode(tiff([0, 7, 255]), "x")[0, :, 0].tolist() == [0, 7, 255]
    assert decode(tiff([0, 256, 65535]), "x")[0, :, 0].tolist() == [0, 1, 255]
    for bad in ([-1, 5], [0, 70000]):
        with pytest.raises(CorruptImage, match="expected 0 to 65535"):
            decode(tiff(bad), "x")


def test_palette_and_transparency(rgb):
    palette = Image.fromarray(rgb).quantize(8)
    np.testing.assert_array_equal(decode(encode(palette), "x"), np.asarray(palette.convert("RGB")))
    alpha = np.full((12, 10, 1), 255, np.uint8)
    alpha[:6] = 0
    over_black = rgb.copy()
    over_black[:6] = 0
    np.testing.assert_array_equal(decode(encode(Image.fromarray(np.concatenate([rgb, alpha], 2))), "x"), over_black)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(form):
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    shown = decode(encode(Image.fromarray(image), form, exif=exif), "x")
    assert shown.shape == (32, 16, 3)
    assert shown[:6].min() > 200
    assert shown[10:].max() < 50


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_empty_truncated_and_foreign_data_are_corrupt(rgb, form):
    data = encode(Image.fromarray(np.repeat(rgb, 8, 0)), form)
    for bad in (b"", data[: len(data) // 2], data[:-100], b"not an image", data[:2] + b"\0" * 50 + b"\xff\xd9"):
        with pytest.raises(CorruptImage, match=r"faces/a\.jpg"):
            decode(bad, "faces/a.jpg")


def test_jpeg_with_trailing_bytes_is_read(rgb):
    data = encode(Image.fromarray(rgb), "JPEG")
    np.testing.assert_array_equal(decode(data + b"\0" * 200, "x").shape, (12, 10, 3))


def test_corrupt_image_can_cross_processes():
    error = pickle.loads(pickle.dumps(CorruptImage("a.jpg", "empty file")))
    assert (error.name, error.reason) == ("a.jpg", "empty file")


def test_file_source(make_folder):
    folder = make_folder(3)
    source = FileSource(folder, ["p0/0000.jpg", "p1/0001.jpg", "p0/none.jpg"])
    assert (len(source), source.name(1), source.read(1).shape) == (3, "p1/0001.jpg", (20, 16, 3))
    with pytest.raises(CorruptImage, match=r"none\.jpg"):
        source.read(2)


def test_file_source_fingerprint_follows_names_sizes_and_times(make_folder):
    folder = make_folder(3)
    names = ["p0/0000.jpg", "p1/0001.jpg"]
    before = FileSource(folder, names).fingerprint()
    assert before == FileSource(str(folder), names).fingerprint()
    assert before != FileSource(folder, names[::-1]).fingerprint()
    (folder / names[0]).write_bytes(b"other")
    other = FileSource(folder, names).fingerprint()
    assert before != other
    os.utime(folder / names[0], ns=(0, 1))
    (folder / names[0]).write_bytes(b"OTHER")  # of the same size
    assert other != FileSource(folder, names).fingerprint()


@pytest.fixture
def two_zips(tmp_path, rgb):
    paths = []
    for number, names in enumerate((["b/1.png", "b/notes.txt", "__MACOSX/b/._1.png"], ["a/2.png", "a/.hidden.png"])):
        paths.append(tmp_path / f"{number}.zip")
        with zipfile.ZipFile(paths[-1], "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, encode(Image.fromarray(rgb + np.uint8(number))))
    return paths


def _read_first(source, queue):
    queue.put(source.read(0))


def test_zip_source_reads_images_of_several_archives_by_name(two_zips, rgb):
    source = ZipSource(two_zips)
    assert [source.name(i) for i in range(len(source))] == ["a/2.png", "b/1.png"]
    np.testing.assert_array_equal(source.read(0), rgb + np.uint8(1))
    np.testing.assert_array_equal(source.read(1), rgb)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_zip_source_survives_pickle_and_other_processes(two_zips, rgb, method):
    source = ZipSource(two_zips)
    source.read(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(1), rgb)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_read_first, args=(source, queue))
    process.start()
    np.testing.assert_array_equal(queue.get(timeout=60), rgb + np.uint8(1))
    process.join()
    np.testing.assert_array_equal(source.read(1), rgb)


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"])
def test_zip_members_that_leave_the_archive_are_refused(tmp_path, rgb, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, encode(Image.fromarray(rgb)))
    with pytest.raises(DataError, match="evil"):
        ZipSource(tmp_path / "x.zip")


def test_backslashes_in_names_of_members_are_folders(tmp_path, rgb):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a\\", "")
        archive.writestr("a\\b\\1.png", encode(Image.fromarray(rgb)))
        archive.writestr("__MACOSX\\b\\2.png", encode(Image.fromarray(rgb)))
    source = ZipSource(tmp_path / "x.zip")
    assert [source.name(row) for row in range(len(source))] == ["a/b/1.png"]
    np.testing.assert_array_equal(source.read(0), rgb)


def test_an_archive_of_a_later_version_of_the_format_is_refused(tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"x")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"faces.zip: not a readable zip archive \(zip file version 9.9\); copy or"):
        ZipSource(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a/1.png", "a/1.png"), ("a/1.png", "a\\1.png")])
def test_two_members_of_one_name_are_refused(tmp_path, rgb, names):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, encode(Image.fromarray(rgb)))
    with pytest.raises(DataError, match=r"x\.zip: holds 2 images a/1\.png"):
        ZipSource(tmp_path / "x.zip")


def test_a_member_that_inflates_to_an_absurd_size_is_not_read(tmp_path, rgb, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(100_000))
        archive.writestr("good.png", encode(Image.fromarray(rgb)))
    source = ZipSource(tmp_path / "x.zip")
    monkeypatch.setattr("pcfrl_lightning.data.images.zips.LARGEST", 50_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args: pytest.fail("opened"))
    with pytest.raises(CorruptImage, match=r"bomb\.png: in x\.zip: 100000 bytes when unpacked, more than 50000"):
        source.read(0)
    monkeypatch.undo()
    np.testing.assert_array_equal(source.read(1), rgb)
    source.members[0] = source.members[0]._replace(size=10)  # a directory that lies
    monkeypatch.setattr("pcfrl_lightning.data.images.zips.LARGEST", 50_000)
    reads = []
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, size=-1: reads.append(size) or b"")
    with pytest.raises(CorruptImage):
        source.read(0)
    assert reads == [50_000]


def test_damaged_and_missing_archives(tmp_path, two_zips):
    (tmp_path / "bad.zip").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match=r"bad\.zip"):
        ZipSource(tmp_path / "bad.zip")
    with pytest.raises(FileNotFoundError, match=r"none\.zip"):
        ZipSource(tmp_path / "none.zip")


def test_damaged_member_is_a_corrupt_image(two_zips):
    data = bytearray(two_zips[0].read_bytes())
    data[60:90] = bytes(30)
    two_zips[0].write_bytes(data)
    source = ZipSource(two_zips[0])
    with pytest.raises(CorruptImage, match=r"b/1.png.*0\.zip"):
        source.read(0)


def test_array_concat_and_subset(rgb):
    colour, grey = ArraySource(np.stack([rgb, rgb + np.uint8(1)])), ArraySource(rgb[None, ..., 0], ["g"])
    both = ConcatSource([colour, grey])
    assert (len(both), both.name(1), both.name(2)) == (3, "1", "g")
    np.testing.assert_array_equal(both.read(1), rgb + np.uint8(1))
    np.testing.assert_array_equal(both.read(2), np.repeat(rgb[..., :1], 3, 2))
    part = SubsetSource(both, [2, 0])
    assert (len(part), part.name(0), part.always_readable) == (2, "g", True)
    np.testing.assert_array_equal(part.read(1), rgb)
    assert len({source.fingerprint() for source in (colour, grey, both, part, SubsetSource(both, [0, 2]))}) == 5
    with pytest.raises(IndexError):
        both.read(3)


@pytest.mark.parametrize("array", [np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4, 1), np.uint8)])
def test_array_source_refuses_other_arrays(array):
    with pytest.raises(DataError, match="uint8"):
        ArraySource(array)


@pytest.mark.parametrize("path", ["../x.jpg", "/x.jpg", "a/../../x.jpg", "", "C:\\x.jpg", "..\\x.jpg"])
def test_paths_that_leave_the_root_are_refused(path):
    with pytest.raises(DataError, match=r"list\.txt:7: .* must be a path relative to its root"):
        inside(path, "list.txt:7")


def test_nested_paths_get_one_spelling():
    assert inside("a\\b/./c..d.jpg", "list.txt:7") == "a/b/c..d.jpg"


def test_image_names():
    assert all(is_image_name(name) for name in ("a.jpg", "x/y.JPEG", "s1/1.pgm", "a.jfif", "b.JPE"))
    assert not any(is_image_name(name) for name in ("a.txt", "x/._a.jpg", ".cache/a.jpg", "__MACOSX/a.jpg", "jpg"))


def test_importing_the_data_package_is_light():
    code = (
        "import sys, pcfrl_lightning.data as data; from pcfrl_lightning.data import FER2013, ZipSource;"
        "assert 'FaceFolder' in data.__all__; assert not {'cv2', 'albumentations'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_archive_with_a_name_in_no_encoding_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("é.png", b"x")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match=r"a\.zip: not a readable zip archive .*utf-8"):
        ZipSource(path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_make_no_image_unreadable(form):
    data = encode(Image.fromarray(np.full((4, 6, 3), 90, np.uint8)), form, exif=b"Exif\0\0no exif data")
    assert decode(data, "x").shape == (4, 6, 3)


def test_several_sources_are_read_with_as_many_threads_as_one_needs():
    local, remote = (ArraySource(np.zeros((1, 4, 4), np.uint8)) for _ in range(2))
    remote.reads_at_once = 32
    assert ConcatSource([local, remote]).reads_at_once == 32
    assert ConcatSource([local]).reads_at_once == ConcatSource([]).reads_at_once == 1
