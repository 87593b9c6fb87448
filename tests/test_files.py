"""Files that appear whole or not at all."""

import errno

import pytest

from pcfrl_lightning.files import replacing


def test_a_file_is_what_it_was_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "second"):
        with replacing(path) as part:
            part.write_text(text)
        assert path.read_text() == text
    with pytest.raises(TypeError), replacing(path) as part:
        part.write_text("third" + 3)  # type: ignore[operator]
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing was written
    assert path.read_text() == "second"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_a_full_disk_is_said_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"), replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="'other'"), replacing(tmp_path / "a.txt"):
        raise OSError(errno.EACCES, "Permission denied", "other")


def test_writers_of_one_number_as_in_two_containers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path, shared=True) as one, replacing(path, shared=True) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the last to end
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
