"""``pcfrl data prepare-voxceleb``, ``merge`` and ``check`` of a pack."""

import pytest

from pcfrl_lightning.cli.data import main
from videos import write_video


def test_from_videos_to_a_verified_pack(tmp_path, capsys):
    for number in range(3):
        write_video(tmp_path / f"videos/id/v/{number}.mp4")
    videos, pack = str(tmp_path / "videos"), tmp_path / "pack"
    assert main(["prepare-voxceleb", videos, str(pack), "--dry-run"]) == 0
    assert "3 clips of 1 identities" in capsys.readouterr().out
    assert main(["prepare-voxceleb", videos, str(tmp_path / "shard"), "--shard", "1/2", "--workers", "1"]) == 0
    assert "shard 1 of 2 is complete: 3 clips (0 unusable), 24 frames" in capsys.readouterr().out
    assert main(["merge", str(tmp_path / "shard"), str(pack)]) == 0
    assert main(["check", str(pack)]) == 0
    assert f"{pack}: 3 clips, 1 videos, 24 frames, 0 unusable; no damaged files" in capsys.readouterr().out
    part = pack / "part-00000.bin"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    assert main(["check", str(pack)]) == 1
    assert f"{part}: has other bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare-voxceleb", "A", "B", "--shard", "0/4"], "must be I/N with I from 1 to N, such as 1/8 or 8/8"),
        (["prepare-voxceleb", "A", "B", "--shard", "5/4"], "must be I/N with I from 1 to N"),
        (["prepare-voxceleb", "A", "B", "--fps", "0"], "must be a number above 0"),
        (["prepare-voxceleb", "A", "B", "--quality", "101"], "must be 0 (raw) or 1 to 100"),
        (["prepare-voxceleb", "A", "B", "--unusable", "2"], "must be a share from 0 to 1"),
        (["prepare-voxceleb", "A"], "the following arguments are required: DST"),
        (["check", "."], ". is not the name of a data set and is no pack (no pack.json in it)"),
        (["check", "lfw"], "ROOT, the folder of lfw, is missing"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
