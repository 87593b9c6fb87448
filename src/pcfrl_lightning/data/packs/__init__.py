"""Packs: the frames of many video clips in few files, with one read for a random frame of a random clip.

A pack is a folder, local or at an fsspec URL:

    part-00000.bin    frames of the clips of this part, written once and never changed (named `.partial` while written)
    part-00000.json   names, positions and SHA-256 of the part; written when the part is complete
    clips.npy         one row of numbers a clip (`CLIP`), sorted by identity, video and clip
    frames.npy        (n,) uint32: where each frame ends, in bytes from the first frame of its clip
    pack.json         settings, counts, identities, and size and SHA-256 of every file; written last

A part begins with `PCFRPK1\\n`, the length of the settings (uint32) and the settings as JSON.  Then follow records, one
a clip, all numbers little-endian:

    4s   CLIP                  u32  CRC-32 of all that follows
    u64  bytes of the record   u32  frames n              u32  bytes of the names
    names: JSON list [identity, video, clip, reason]; a clip that cannot be used has a reason and no frames
    n x (u32 bytes of the frame, u32 number in the source, f64 time in seconds)
    the frames, one after another, as the codec wrote them

A record is written by one call behind the last.  A writer that was killed leaves a part whose complete records are
found by their checksums, so the next one continues there: the bytes of a part depend on settings and clips only.

    writer = PartWriter(folder, 0, {"codec": "jpeg", "quality": 90, "size": 64, "parts": 1})
    for identity, video, clip in plan[len(writer.done):]:
        writer.add(identity, video, clip, [codec.encode(image) for image in images], times, numbers)
    writer.finish()
    join(folder)                                  # with further folders: also takes their parts
    pack = Pack(folder)
    image = pack.read(clip, frame)                # uint8 RGB (H, W, 3)
"""

from pcfrl_lightning.data.packs.codecs import codec_of
from pcfrl_lightning.data.packs.join import check_part, join
from pcfrl_lightning.data.packs.pack import Pack, is_pack
from pcfrl_lightning.data.packs.writer import PartWriter, is_finished

__all__ = ["Pack", "PartWriter", "check_part", "codec_of", "is_finished", "is_pack", "join"]
