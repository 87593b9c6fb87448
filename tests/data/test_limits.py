"""Small files that claim to hold a lot are refused before memory is asked for."""

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pcfrl_lightning.data.folders.table import read_table
from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.data.images.rows import read_rows
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.data.releases.affectnet import _load
from pcfrl_lightning.data.releases.points import read_mat
from pcfrl_lightning.data.releases.pose_arrays import PoseArrays
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks.checkpoint import load_weights

MB = 1 << 20


@pytest.fixture(autouse=True)
def _little_memory():
    """No test allocates more than a few megabytes, as far as Python and NumPy know."""
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 64 * MB


def encoded(kind: str, size: tuple[int, int] = (8, 8), **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (90, 60, 30)).save(file, kind, **options)
    return file.getvalue()


def jpeg_of(width: int, height: int, **options) -> bytes:
    """A small picture whose header claims another size."""
    data = encoded("JPEG", **options)
    frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def png_of(width: int, height: int) -> bytes:
    data = encoded("PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


LARGE = {
    "jpeg": jpeg_of(20000, 20000),
    "progressive": jpeg_of(65500, 65500, progressive=True),
    "with EXIF": jpeg_of(20000, 20000, exif=Image.Exif()),
    "junk between segments": (lambda data: data[:2] + b"junk" + data[2:])(jpeg_of(20000, 20000)),
    "no end": jpeg_of(20000, 20000)[:-2],
    "png": png_of(12000, 12000),
    "larger png": png_of(20000, 20000),
}


@pytest.mark.parametrize("name", LARGE)
def test_an_image_of_too_many_pixels(name):
    by_pillow = name in ("junk between segments", "no end", "larger png")  # its own limit is twice as high
    reason = "DecompressionBomb|not an image" if by_pillow else "pixels, more than 67108864 in all"
    with pytest.raises(CorruptImage, match=reason):
        decode(LARGE[name], "a.jpg")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": Image.Exif()}, {"comment": b"c" * 5000}])
def test_the_size_of_an_ordinary_image_is_found(options):
    assert decode(encoded("JPEG", (30, 20), **options), "a.jpg").shape == (20, 30, 3)


@pytest.fixture
def zeros(monkeypatch):
    """5 MB in 5 kB, where 4 MB are the most."""
    monkeypatch.setattr("pcfrl_lightning.data.images.zips.LARGEST", 4 * MB)

    def write(path, name: str, start: bytes = b"") -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
            member.write(start)
            for _ in range(5):
                member.write(bytes(MB))

    return write


def test_an_image_in_an_archive(tmp_path, zeros):
    zeros(tmp_path / "a.zip", "a.jpg")
    assert (tmp_path / "a.zip").stat().st_size < 10_000
    with pytest.raises(CorruptImage, match=r"in a\.zip: 5242880 bytes when unpacked, more than"):
        ZipSource(tmp_path / "a.zip").read(0)


def test_an_array_in_an_archive(tmp_path, zeros):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (25600, 64, 64, 3)})
    (tmp_path / "AFLW2000").mkdir()
    zeros(tmp_path / "AFLW2000" / "a.npz", "image.npy", header.getvalue())
    with pytest.raises(DataError, match=r"a\.npz: image\.npy unpacks from \d+ to 5243008 bytes, which no data do"):
        PoseArrays(tmp_path)._read(tmp_path / "AFLW2000" / "a.npz")


def test_a_text_in_an_archive(tmp_path, zeros):
    zeros(tmp_path / "a.zip", "list.txt")
    with pytest.raises(DataError, match=r"a\.zip: list\.txt unpacks from"):
        list(read_rows(zipfile.Path(tmp_path / "a.zip", "list.txt")))


def test_a_packed_text(tmp_path):
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"image,label\n") + gzip.compress(bytes(MB), 1) * 300)
    with pytest.raises(DataError, match=r"labels\.csv\.gz: unpacks from \d+ to more than"):
        read_table(path)


def test_a_column_of_equal_cells(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    path = tmp_path / "labels.parquet"
    column = pyarrow.DictionaryArray.from_arrays(np.zeros(1 << 22, np.int8), ["a.jpg"])
    parquet.write_table(pyarrow.table({"image": column, "label": column}), path)
    with pytest.raises(DataError, match=r"labels\.parquet: .*8388608 cells, more than a file of this size has"):
        read_table(path)


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 28, 4)])
def test_an_array_that_is_not_there(tmp_path, shape):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with pytest.raises(DataError, match=r"a\.npy: no readable array"):
        _load(tmp_path / "a.npy")


def test_a_matlab_file(tmp_path):
    element = struct.pack("<II", 6, 8) + struct.pack("<II", 6, 0)  # flags: double
    element += struct.pack("<IIii", 5, 8, 1 << 14, 1 << 14) + struct.pack("<II", 1, 3) + b"pts" + bytes(5)
    element += struct.pack("<II", 9, 8 << 28 & 0xFFFFFFF8)
    matrix = struct.pack("<II", 14, 0x7FFFFFFF) + element
    packed = zlib.compress(matrix + bytes(MB))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DataError, match=r"a\.mat: pts has more than 1048576 numbers"):
        read_mat(tmp_path / "a.mat", ["pts"])


@pytest.mark.parametrize("how", ["header", "tensor"])
def test_weights(tmp_path, how):
    save_file({"a": torch.zeros(4)}, tmp_path / "good.safetensors")
    data = (tmp_path / "good.safetensors").read_bytes()
    if how == "header":
        data = struct.pack("<Q", 1 << 40) + data[8:]
    else:
        text = data[8:].split(b"}")[0].replace(b"[4]", b"[4000000000]").replace(b"[0,16]", b"[0,16000000000]") + b"}}"
        data = struct.pack("<Q", len(text)) + text + bytes(16)
    (tmp_path / "bad.safetensors").write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.safetensors is not a file of plain tensors"):
        load_weights(tmp_path / "bad.safetensors")
