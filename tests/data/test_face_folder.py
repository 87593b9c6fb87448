import itertools
import zipfile

import pytest
from jsonargparse import ArgumentParser

from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError
from tiny import tiny_model, trainer


def names(data: FaceData, split: str = "train") -> list[str]:
    source = data.splits[split].source
    return [source.name(row) for row in range(len(source))]


def pack(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_a_nested_folder_in_the_order_of_names(make_folder):
    folder = make_folder(5)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.jpg").write_text("x")
    assert names(FaceFolder(folder)) == ["p0/0000.jpg", "p0/0003.jpg", "p1/0001.jpg", "p1/0004.jpg", "p2/0002.jpg"]


def test_one_or_several_zips_equal_the_folder(make_folder, tmp_path):
    folder, other = make_folder(5), make_folder(2, "other")
    one, two = pack(folder, tmp_path / "one.zip"), pack(other, tmp_path / "two.zip", "z/")
    assert names(FaceFolder(one)) == names(FaceFolder(folder))
    assert names(FaceFolder([two, one])) == [*names(FaceFolder(folder)), "z/p0/0000.jpg", "z/p1/0001.jpg"]


def test_a_list_keeps_its_order_and_ignores_labels(make_folder, tmp_path):
    folder = make_folder(6)
    (folder / "p0" / "with blank.jpg").write_bytes((folder / "p0" / "0000.jpg").read_bytes())
    listing = tmp_path / "list.txt"
    listing.write_text("# faces\np2/0002.jpg 5\n\np0/0000.jpg,1,0\np1/0001.jpg\t3\np0/with blank.jpg 2\n")
    expected = ["p2/0002.jpg", "p0/0000.jpg", "p1/0001.jpg", "p0/with blank.jpg"]
    assert names(FaceFolder(folder, listing)) == expected
    assert names(FaceFolder(pack(folder, tmp_path / "a.zip"), listing)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p0/0000.jpg\n../x.jpg\n", r"list.txt:2: '\.\./x\.jpg' must be a path relative"),
        ("/etc/x.jpg\n", "list.txt:1: "),
        ("name,label\n", "list.txt:1: 'name,label' does not begin with the path of an image"),
        ("\n", "list.txt: empty"),
        ("# none\n", "list.txt: empty"),
        ("p0/0000.jpg\n# x\np0/0000.jpg 3\n", r"list.txt:3: p0/0000\.jpg stands in .*list\.txt:1 already"),
        ("p0/0000.jpg\np0/9.jpg\np7/8.jpg\n", r"list.txt:2: 'p0/9\.jpg' is not in .*faces.* \(2 of the list in all\)"),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_bad_lists_name_the_line_in_a_folder_as_in_an_archive(make_folder, tmp_path, text, message, archive):
    listing = tmp_path / "list.txt"
    listing.write_text(text)
    root = make_folder(1)
    with pytest.raises(DataError, match=message):
        _ = FaceFolder(pack(root, tmp_path / "faces.zip") if archive else root, listing).splits


def test_a_list_in_utf_16_is_refused_in_one_line(make_folder, tmp_path):
    (tmp_path / "list.txt").write_text("p0/0000.jpg\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"list\.txt: not a UTF-8 text file"):
        _ = FaceFolder(make_folder(1), tmp_path / "list.txt").splits


def test_a_listed_name_that_several_archives_hold(make_folder, tmp_path):
    folder = make_folder(2)
    archives = [pack(folder, tmp_path / "a.zip"), pack(folder, tmp_path / "b.zip")]
    (tmp_path / "list.txt").write_text("p1/0001.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt:1: p1/0001\.jpg stands in several archives"):
        _ = FaceFolder(archives, tmp_path / "list.txt").splits


@pytest.mark.parametrize("archive", [False, True])
def test_files_that_are_not_looked_at_are_counted(make_folder, tmp_path, caplog, archive):
    folder = make_folder(4)
    for path in sorted(folder.rglob("*.jpg")):
        for suffix in (".jfif", ".heic", ""):
            path.with_suffix(suffix).write_bytes(path.read_bytes())
    (folder / "p0" / ".DS_Store").write_text("x")
    (folder / "notes.TXT").write_text("x")
    root = folder
    if archive:
        root = tmp_path / "a.zip"
        with zipfile.ZipFile(root, "w") as packed:
            for file in folder.rglob("*.*" if not archive else "*"):
                packed.write(file, file.relative_to(folder).as_posix())
    with caplog.at_level("WARNING"):
        assert len(names(FaceFolder(root))) == 8
    (message,) = caplog.messages
    assert "9 files are left out, they are not named like images: 4 " in message
    assert all(part in message for part in ("4 .heic", "4 without a suffix", "1 .txt"))


def test_missing_and_empty_roots(make_folder, tmp_path):
    FaceFolder(tmp_path / "none")  # nothing is read before set-up
    with pytest.raises(FileNotFoundError, match=r"none: does not exist; expected a folder of images or a zip"):
        _ = FaceFolder(tmp_path / "none").splits
    with pytest.raises(FileNotFoundError, match=r"none.txt: no such list file"):
        _ = FaceFolder(make_folder(1), tmp_path / "none.txt").splits
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images found; expected files named"):
        _ = FaceFolder(tmp_path / "empty").splits
    (tmp_path / "empty" / "a.heic").write_text("")
    with pytest.raises(DataError, match=r"empty: no images found; .* \(found: 1 \.heic\)"):
        _ = FaceFolder(tmp_path / "empty").splits
    (tmp_path / "a.tar").write_text("")
    with pytest.raises(DataError, match=r"a\.tar: expected a folder or zip archives"):
        _ = FaceFolder(tmp_path / "a.tar").splits


def test_validation_share(make_folder):
    data = FaceFolder(make_folder(20), val_fraction=0.25)
    train, val = names(data), names(data, "val")
    assert (len(train), len(val)) == (15, 5)
    assert not set(train) & set(val)
    assert val == names(FaceFolder(data.root, val_fraction=0.25), "val")
    assert val != names(FaceFolder(data.root, val_fraction=0.25, seed=1), "val")
    with pytest.raises(ValueError, match="val_fraction"):
        FaceFolder(data.root, val_fraction=1.0)
    with pytest.raises(DataError, match=r"val_fraction 0\.01 of 20 images is none; raise it, or set it to 0"):
        FaceFolder(data.root, val_fraction=0.01).build()


def test_a_folder_is_trained_on_from_plain_python_and_predicted_in_batches_of_one(make_folder, tmp_path):
    folder = make_folder(8)
    trainer(tmp_path, max_epochs=1).fit(tiny_model(), FaceFolder(folder, image_size=32, batch_size=4, num_workers=0))
    single = FaceFolder(folder, image_size=32, batch_size=1, num_workers=0)
    (batch,) = itertools.islice(single.predict_dataloader(), 1)
    assert (sorted(batch), batch["image"].shape) == (["image", "index"], (1, 3, 32, 32))
    with pytest.raises(DataError, match="batch_size must be at least 2, got 1"):
        single.setup("fit")


@pytest.mark.parametrize("root", ["faces", "[a.zip, b.zip]"])
def test_root_can_be_given_on_the_command_line(root):
    parser = ArgumentParser()
    parser.add_subclass_arguments(FaceData, "data")
    config = parser.parse_args(
        ["--data=FaceFolder", f"--data.root={root}", "--data.views=pcfrl_lightning.data.views.cpu.AlbumentationsViews",
         "--data.views.init_args.appearance.sobel_p=0.1"]
    )  # fmt: skip
    data = parser.instantiate_classes(config).data
    assert [str(path) for path in data.roots] == (["faces"] if root == "faces" else ["a.zip", "b.zip"])
    assert data.views.appearance.sobel_p == 0.1
    assert data.views.side == 64


def test_real_grey_and_pgm_archives(shared_data):
    data = FaceFolder([shared_data / "orl_faces.zip", shared_data / "lfw_color_sample.zip"], num_workers=0)
    assert len(data.splits["train"]) == 490
    batch = next(iter(data.image_loader("train")))
    assert batch["image"].shape == (256, 3, 64, 64)
