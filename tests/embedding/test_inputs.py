"""What a user may name, as a stream of pictures that can begin anywhere."""

import os
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from pcfrl_lightning.data.images.decode import CorruptImage
from pcfrl_lightning.data.images.listing import walk
from pcfrl_lightning.embedding.inputs import open_input
from pcfrl_lightning.errors import DataError

FRAMES, RATE = 30, 10


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder whose order differs between names and directories, and a video among its images."""
    for name in ("a/x.png", "a.png", "a-b/y.jpg", "b/c/z.png", ".hidden/h.png", "b/n.txt", "b/.i.png"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if name.endswith("txt") else Image.new("RGB", (4, 4), (len(name), 0, 0)).save(path)
    (tmp_path / "root/b/loop").symlink_to(tmp_path / "root", target_is_directory=True)
    video(tmp_path / "root/b/m.avi")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "root"


def video(path):
    """Frames whose grey value is eight times their number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (16, 16))
    for number in range(FRAMES):
        writer.write(np.full((16, 16, 3), 8 * number, np.uint8))
    writer.release()


def drawn(items):
    return [(item.name, item.frame, item.read().mean().round()) for item in items]


def test_a_walk_gives_the_order_of_the_whole_paths_and_follows_no_circle(root):
    found = list(walk(root))
    assert found == sorted(found) == ["a-b/y.jpg", "a.png", "a/x.png", "b/c/z.png", "b/m.avi", "b/n.txt"]


def test_a_directory_that_may_not_be_listed_is_left_out_with_a_warning(root, monkeypatch, caplog):
    def scandir(path, scan=os.scandir):
        if str(path).endswith("root/b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(walk(root)) == ["a-b/y.jpg", "a.png", "a/x.png"]
    assert f"{root / 'b'} is left out: Permission denied" in caplog.text


def test_every_input_can_begin_anywhere(root):
    (root / "b/loop").unlink()  # a pattern goes round it forty times
    with zipfile.ZipFile("faces.zip", "w") as archive:
        for name in ("a.png", "a/x.png"):
            archive.write(root / name, name)
    (root / "list.txt").write_text("a/x.png 3\nb/m.avi\na.png\n")
    for text in ("root", "faces.zip", "root/list.txt", "root/**/*.*", "root/a.png", "root/b/m.avi"):
        whole = open_input(text, fps=4)
        expected = drawn(whole.items(0))
        assert len(expected) == whole.total()
        for start in range(len(expected) + 1):
            assert drawn(whole.items(start)) == expected[start:]
    assert [name for name, *_ in drawn(open_input("root").items(0))][:5] == [*list(walk(root))[:4], "b/m.avi"]
    assert len(list(open_input("root/b/m.avi").items(0))) == FRAMES
    slow = open_input("root/b/m.avi", fps=0.5)  # at 0 and 2 s of 3
    assert slow.total() == len(list(slow.items(0))) == 2


@pytest.mark.parametrize(("fps", "frames"), [(None, range(30)), (5, range(0, 30, 2)), (4, (0, 3, 5, 8, 10, 13))])
def test_frames_of_a_video_with_their_times(root, fps, frames):
    items = list(open_input("root/b/m.avi", fps=fps).items(0))[: len(frames)]
    assert [item.frame for item in items] == list(frames)
    np.testing.assert_allclose([item.time for item in items], np.array(frames) / RATE, atol=1e-6)
    np.testing.assert_allclose([item.read().mean() for item in items], 8 * np.array(frames), atol=3)


def test_a_name_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video(tmp_path / "m.avi")
    (tmp_path / "m.avi").rename("10:30.avi")
    assert next(open_input("10:30.avi").items(0)).read().shape[2] == 3


def test_videos_that_cannot_be_read_or_end_early_are_one_item_that_cannot(root):
    whole = (root / "b/m.avi").read_bytes()
    (root / "b/bad.mp4").write_bytes(b"no video")
    (root / "b/half.avi").write_bytes(whole[: len(whole) // 2])
    (bad,) = open_input("root/b/bad.mp4").items(0)
    with pytest.raises(CorruptImage, match=r"bad\.mp4: cannot be opened as a video"):
        bad.read()
    *frames, last = open_input("root/b/half.avi").items(0)
    assert 1 < len(frames) < FRAMES - 2
    with pytest.raises(CorruptImage, match=f"{len(frames)} readable frames of 30"):
        last.read()


class _Camera:
    def __init__(self, number):
        self.left = 7 if number == 0 else 0

    def isOpened(self):
        return self.left > 0

    def grab(self):
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, np.full((8, 8, 3), (1, 2, 3), np.uint8)  # blue, green, red

    def release(self):
        pass


def test_a_webcam_goes_on_until_it_ends_or_the_limit(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", _Camera)
    camera = open_input("webcam")
    assert camera.live
    assert camera.total() is None
    items = list(camera.items(0))
    assert [(item.name, item.frame) for item in items] == [("webcam:0", number) for number in range(7)]
    assert items[0].time == 0.0 or items[0].time < 1.0
    assert items[0].read()[0, 0].tolist() == [3, 2, 1]
    assert len(list(open_input("webcam:0", limit=3).items(0))) == 3
    with pytest.raises(DataError, match="webcam:1: there is no such camera"):
        next(open_input("webcam:1").items(0))


def test_a_list_of_members_of_a_zip(root):
    with zipfile.ZipFile("faces.zip", "w") as archive:
        for name in ("a.png", "a/x.png", "b/c/z.png"):
            archive.write(root / name, name)
    list_file = root / "list.txt"
    list_file.write_text("# mine\nb/c/z.png\na.png\n")
    found = open_input(str(list_file), root=root.parent / "faces.zip")
    assert [item.name for item in found.items(0)] == ["b/c/z.png", "a.png"]
    list_file.write_text("a.png\nq.png\n")
    with pytest.raises(DataError, match=r"'q\.png' is not in .*faces\.zip"):
        open_input(str(list_file), root=root.parent / "faces.zip")
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist"):
        open_input(str(list_file), root=root / "nowhere")


def test_lists_as_other_programs_write_them(root):
    (root / "b/c/Z.JPG").write_bytes((root / "a-b/y.jpg").read_bytes())
    (root / "b/caf\udce9.png").write_bytes((root / "a.png").read_bytes())
    (root / "b/a[1].png").write_bytes((root / "a.png").read_bytes())
    text = "\ufeffa.png\r\nb\\c\\Z.JPG, 3\r\nb/caf\udce9.png\n\n# b/c/z.png\nb/a[1].png\n"
    (root / "list.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = drawn(open_input("root/list.csv").items(0))
    assert [name for name, *_ in found] == ["a.png", "b/c/Z.JPG", "b/caf\udce9.png", "b/a[1].png"]
    assert len(drawn(open_input("root/b/a[1].png").items(0))) == 1
    with pytest.raises(FileNotFoundError, match="no image or video matches"):
        open_input("root/b/c[1].png")


def test_other_files_are_refused(root):
    (root / "x.pdf").touch()
    with pytest.raises(DataError, match=r"x\.pdf: neither a folder, zip, list"):
        open_input(str(root / "x.pdf"))


def test_a_list_in_utf_16_is_named(root):
    (root / "list.txt").write_text("a.png\nb/c/z.png\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"list.txt: not a UTF-8 text file; save it as UTF-8"):
        open_input("root/list.txt").total()


def test_a_link_to_itself_is_a_file_like_any_other(root):
    (root / "b/self").symlink_to("self")
    assert "b/self" in list(walk(root))
