"""Which frames of a video are taken, and that no wrong one is."""

import errno
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pcfrl_lightning.data.prepare.decode import Unusable, sampled_frames
from videos import TURNS, number_of, picture, write_sound, write_video

VIDEOS = Path(__file__).parents[4] / "shared/data/videos"
PUBLIC = [0, 4, 8, 12, 16, 20]


def on_show(stamps, end, rate):
    """Numbers of the frames on show at 0, 1/rate ..., where a stamp may be late by 2 ms: the slow way."""
    times = [Fraction(k, rate) + Fraction(2, 1000) for k in range(1000)]
    return sorted({max(n for n, stamp in enumerate(stamps) if stamp <= time) for time in times if time < end})


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mpg"])
def test_of_25_frames_a_second_those_of_the_public_rule(tmp_path, suffix):
    codec = "mpeg1video" if suffix == ".mpg" else "mpeg4"
    frames = list(sampled_frames(str(write_video(tmp_path / f"a{suffix}", 75, codec=codec)), 6))
    assert [frame.number for frame in frames] == [25 * second + n for second in range(3) for n in PUBLIC]
    assert [frame.time for frame in frames] == pytest.approx([frame.number / 25 for frame in frames], abs=1e-6)
    for frame in frames:
        assert number_of(frame.image) == pytest.approx(frame.number, abs=1.2)


@pytest.mark.parametrize("rate", [5, 6, 12, 24, 30, 50, 60, Fraction(30000, 1001)])
def test_other_rates_by_time(tmp_path, rate):
    frames = list(sampled_frames(str(write_video(tmp_path / "a.mp4", 61, rate)), 6))
    stamps = [n / Fraction(rate) for n in range(61)]
    assert [frame.number for frame in frames] == on_show(stamps, 61 / Fraction(rate), 6)


@pytest.mark.parametrize("seed", range(4))
def test_variable_rate_by_time(tmp_path, seed):
    rng = np.random.default_rng(seed)
    stamps = [Fraction(int(ms), 1000) for ms in np.cumsum([0, *rng.integers(20, 400, 39)])]
    path = write_video(tmp_path / "a.mp4", len(stamps), 25, [float(stamp) for stamp in stamps])
    numbers = [frame.number for frame in sampled_frames(str(path), 6)]
    assert [number for number in numbers if number < 39] == on_show(stamps, stamps[-1], 6)  # the last has no known end
    assert len(numbers) < 39


def test_every_frame_at_a_rate_above_that_of_the_video(tmp_path):
    assert len(list(sampled_frames(str(write_video(tmp_path / "a.mp4", 30)), 100))) == 30


def test_content_is_read_like_a_path(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    by_path, by_content = (list(sampled_frames(each, 6)) for each in (str(path), BytesIO(path.read_bytes())))
    assert len(by_path) == len(by_content) == 8
    assert all(np.array_equal(one.image, two.image) for one, two in zip(by_path, by_content, strict=True))


@pytest.mark.parametrize("turn", TURNS)
def test_shown_as_the_display_matrix_says(tmp_path, turn):
    a, b, c, d = TURNS[turn]
    upright = picture(20)
    height, width = upright.shape[:2]
    shown = np.zeros((width, height, 3) if a == 0 else upright.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            column, row = a * x + c * y, b * x + d * y
            shown[row if row >= 0 and b + d > 0 else row - 1, column if a + c > 0 else column - 1] = upright[y, x]
    frame = next(sampled_frames(str(write_video(tmp_path / "a.mp4", 1, shift=20, turn=turn)), 6))
    assert frame.image.shape == shown.shape
    assert frame.image.flags.c_contiguous
    assert np.abs(frame.image.astype(int) - shown).mean() < 12


@pytest.mark.parametrize("sound", [False, True])
def test_sound_is_not_needed(tmp_path, sound):
    assert len(list(sampled_frames(str(write_video(tmp_path / "a.mp4", 50, sound=sound)), 6))) == 12


def refused(path):
    with pytest.raises(Unusable) as caught:
        list(sampled_frames(str(path), 6))
    return str(caught.value)


def test_no_pictures(tmp_path):
    assert refused(write_sound(tmp_path / "sound.mp4")) == "no video stream, only sound"
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    assert "not decodable" in refused(tmp_path / "empty.mp4")
    assert "not decodable" in refused(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "none.avi"), "w") as container:
        container.add_stream("mpeg4", rate=25).width = 96
        container.streams[0].height, container.streams[0].pix_fmt = 64, "yuv420p"
        container.start_encoding()
    assert refused(tmp_path / "none.avi") == "no frames"


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 0.999])
def test_cut_off_anywhere(tmp_path, codec, share):
    path = write_video(tmp_path / "a.mp4", 60, codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert refused(path)


def test_a_file_that_cannot_be_read_is_another_matter(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        list(sampled_frames(str(tmp_path / "absent.mp4"), 6))
    path = write_video(tmp_path / "cut.mp4", 60)
    path.write_bytes(path.read_bytes()[:3000])

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        list(sampled_frames(str(path), 6))


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs ../shared/data/videos")
def test_real_clips_give_the_frames_that_opencv_gives():
    for path in sorted(VIDEOS.iterdir()):
        frames = {frame.number: frame.image for frame in sampled_frames(str(path), 6)}
        total = 75 if path.suffix == ".mpg" else 200
        assert list(frames) == [number for number in range(total) if number % 25 in PUBLIC]
        assert path.suffix != ".mpg" or len(frames) == 18
        capture = cv2.VideoCapture(str(path))
        for number in range(total):
            image = capture.read()[1]
            if number in frames:
                difference = np.abs(cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(int) - frames[number])
                assert difference.mean() < 1


LIST = b"ffconcat version 1.0\nfile 'other.mp4'\n"
ADDRESSES = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 45678 RTP/AVP 31\n"
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nother.mp4\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("content", [LIST, ADDRESSES, PLAYLIST], ids=["list", "addresses", "playlist"])
def test_a_file_that_names_others_opens_none(tmp_path, content):
    write_video(tmp_path / "other.mp4")
    (tmp_path / "a.mp4").write_bytes(content)
    for video in (str(tmp_path / "a.mp4"), BytesIO(content)):
        with pytest.raises(Unusable, match="not decodable"):
            list(sampled_frames(video, 6))


def test_a_name_with_a_colon_is_no_address(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4").rename(tmp_path / "10:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(list(sampled_frames("10:30.mp4", 6))) > 0
