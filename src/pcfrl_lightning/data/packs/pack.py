"""Reading a pack, and a pack as a source of images for a `FaceSet`."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from pcfrl_lightning.data.images.sources import CorruptImage, ImageSource, digest
from pcfrl_lightning.data.packs.codecs import codec_of
from pcfrl_lightning.data.packs.facts import check_clips, read_facts
from pcfrl_lightning.data.packs.join import CLIP
from pcfrl_lightning.data.packs.records import Record, parse
from pcfrl_lightning.data.packs.storage import Storage, is_url
from pcfrl_lightning.data.packs.writer import part_name, write_atomically
from pcfrl_lightning.data.quality.unreadable import cache_folder
from pcfrl_lightning.errors import DataError

_BLOCK = 8 << 20
_FIX = "; copy it again or write it again"


class Pack:
    """A finished pack; may be pickled, forked and used by several threads.

    The tables are memory-mapped, those of a URL after a copy to the cache folder; frames are read by byte ranges.

    Args:
        root: folder, or fsspec URL.
        storage: what reads its files; default by the kind of root.

    Attributes:
        facts: content of pack.json.
        identities: names of the people.
        clips: (n,) of type `CLIP`.
        ends: (frames,) uint32, where frames end.

    Raises:
        FileNotFoundError: there is no pack.json.
        DataError: pack.json is damaged or of another version, or a file is absent or has another size; names it.
    """

    def __init__(self, root: str | Path, storage: Storage | None = None) -> None:
        self.root = str(root)
        self.storage = storage or Storage(root)
        try:
            text = self.storage.read("pack.json")
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.root}: no finished pack, there is no pack.json") from None
        self.facts = read_facts(text, f"{self.root}/pack.json")
        self._check_sizes()
        self.identities: list[str] = self.facts["identities"]
        self.codec = codec_of(self.facts["settings"])
        self.clips = self._table("clips.npy", CLIP)
        self.ends = self._table("frames.npy", np.dtype("<u4"))
        check_clips(self.clips, len(self.ends), self.facts, f"{self.root}/clips.npy")

    def __len__(self) -> int:
        return len(self.clips)

    def read(self, clip: int, frame: int) -> np.ndarray:
        """A frame of a clip as uint8 RGB (H, W, 3), by one read.

        Raises:
            CorruptImage: its bytes are no image; names the clip, the frame and the part.
            DataError: a table or the part does not hold it.
        """
        row = self.clips[clip]
        if not 0 <= frame < row["frames"]:
            raise IndexError(f"frame {frame} of a clip of {row['frames']}")
        last = int(row["first"]) + frame
        start = int(self.ends[last - 1]) if frame else 0
        end = int(self.ends[last])
        if end < start:
            raise DataError(f"{self.root}/frames.npy: damaged (row {last}); join the parts again")
        data = self._bytes(row, int(row["data"]) + start, end - start)
        try:
            return self.codec.decode(data)
        except CorruptImage as error:
            raise CorruptImage(f"{self.name(clip)} frame {frame}", f"{error.reason}, in {self._path(row)}") from None

    def record(self, clip: int) -> Record:
        """Names of a clip, and times and numbers of its frames."""
        row = self.clips[clip]
        start = int(row["record"])
        found = parse(self._bytes(row, start, int(row["data"]) - start), whole=False)
        if found is None:
            raise DataError(f"{self._path(row)}: damaged at byte {start}{_FIX}")
        return found

    def name(self, clip: int) -> str:
        """`identity/video/clip`."""
        return "/".join(self.record(clip).names)

    def verify(self) -> list[str]:
        """Read every file; one line for each that has not the bytes that were written."""
        problems = []
        for name, (size, expected) in tqdm(self.facts["files"].items(), desc=f"verify {self.root}", delay=2):
            found = hashlib.sha256()
            for start in range(0, size, _BLOCK):
                found.update(self.storage.read(name, start, min(_BLOCK, size - start)))
            if found.hexdigest() != expected:
                problems.append(f"{self.root}/{name}: has other bytes than were written{_FIX}")
        return problems

    def _bytes(self, row: np.void, start: int, count: int) -> bytes:
        name = f"{part_name(row['part'])}.bin"
        # without memory for what the part does not hold
        data = self.storage.read(name, start, count) if start + count <= self.facts["files"][name][0] else b""
        if len(data) != count:
            raise DataError(f"{self._path(row)}: ends before byte {start + count}{_FIX}")
        return data

    def _path(self, row: np.void) -> str:
        return f"{self.root}/{part_name(row['part'])}.bin"

    def _check_sizes(self) -> None:
        found = self.storage.sizes()
        for name, (size, _) in self.facts["files"].items():
            if found.get(name) != size:
                what = f"has {found[name]} bytes instead of {size}" if name in found else "is absent"
                raise DataError(f"{self.root}/{name}: {what}{_FIX}")

    def _table(self, name: str, dtype: np.dtype) -> np.ndarray:
        path = Path(self.root, name)
        if self.storage.remote:
            expected = self.facts["files"][name][1]
            path = cache_folder() / "packs" / f"{expected}.npy"
            if not path.is_file():
                content = self.storage.read(name)
                if hashlib.sha256(content).hexdigest() != expected:  # or it would be cached for others
                    raise DataError(f"{self.root}/{name}: has other bytes than were written{_FIX}")
                write_atomically(path, content)
        try:
            table: np.ndarray = np.load(path, mmap_mode="r").view(np.ndarray)  # np.memmap is slow at single rows
        except Exception as error:  # numpy has many types for what is no array
            raise DataError(f"{self.root}/{name}: damaged ({error!s:.100}); join the parts again") from None
        if table.dtype != dtype or table.ndim != 1:
            raise DataError(f"{self.root}/{name}: holds {table.dtype} {table.shape}, not {dtype}; join the parts again")
        return table

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "storage": self.storage}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class PackFrames(ImageSource):
    """The clips or videos of a pack; `draw` takes a random frame, of a random clip where an item is a video.

    `read` takes the middle frame of the first clip.  Frames are checked by `Pack.verify`, not at the start of a run;
    one that is no image is replaced and counted, as a damaged image file is.

    Args:
        pack: the frames.
        item: what one item is.

    Attributes:
        people: (n,) person of each item, row of `pack.identities`.
    """

    always_readable = varied = True

    def __init__(self, pack: Pack, item: Literal["video", "clip"] = "clip") -> None:
        self.pack = pack
        self.item = item
        last = len(pack) if item == "clip" else int(pack.clips["video"][-1]) + 1
        keys = np.arange(len(pack)) if item == "clip" else pack.clips["video"]
        self._first = np.searchsorted(keys, np.arange(last + 1))  # clips are sorted by video
        self.people = pack.clips["identity"][self._first[:-1]].astype(np.int64)
        self.reads_at_once = pack.storage.reads_at_once

    def __len__(self) -> int:
        return len(self.people)

    def name(self, index: int) -> str:
        names = self.pack.record(int(self._first[index])).names
        return "/".join(names if self.item == "clip" else names[:2])

    def read(self, index: int) -> np.ndarray:
        clip = int(self._first[index])
        return self.pack.read(clip, int(self.pack.clips["frames"][clip]) // 2)

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        clip = int(rng.integers(self._first[index], self._first[index + 1]))
        return self.pack.read(clip, int(rng.integers(self.pack.clips[clip]["frames"])))

    def fingerprint(self) -> str:
        return digest([self.item, *(f"{name} {sha256}" for name, (_, sha256) in self.pack.facts["files"].items())])


def is_pack(root: str | Path) -> bool:
    """Whether a root is a pack; a URL is always taken for one."""
    return is_url(root) or (Path(root) / "pack.json").is_file()
