import zipfile
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, UprightCrop
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.registry import DATA_SETS, OFFICIAL, data_class

RAFDB = {
    "train": 3, "train/sadness": 1, "train/surprise": 1, "train/neutral": 1,
    "test": 2, "test/happiness": 1, "test/neutral": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DATA_SETS))
def test_every_registered_data_set_is_configurable_from_yaml(name, tmp_path):
    cls = data_class(name)
    assert issubclass(cls, FaceData)
    assert cls.name == name
    parser = ArgumentParser()
    parser.add_subclass_arguments(FaceData, "data")
    path = f"{cls.__module__}.{cls.__qualname__}"
    args = [f"--data={path}", f"--data.root={tmp_path}", "--data.batch_size=7", "--data.image_size=48"]
    data = parser.instantiate_classes(parser.parse_args(args)).data
    assert (data.batch_size, data.image_size, data.num_workers) == (7, 48, 2)


def test_every_registered_data_set_is_documented():
    documented = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in DATA_SETS if f"`{name}`" not in documented] == []


def test_loaders_follow_the_labels_around_an_unreadable_image(tmp_path):
    """One damaged image of 120: the loader leaves it out and rows still point at their labels."""
    lines = [f"train_{n:05d}.jpg {n % 7 + 1}" for n in range(120)] + ["test_0001.jpg 1"]
    trees.text(tmp_path / "EmoLabel" / "list_patition_label.txt", "\n".join(lines))
    for line in lines:
        trees.image(tmp_path / "Image" / "aligned" / line.split(" ")[0].replace(".jpg", "_aligned.jpg"), 12, 12)
    (tmp_path / "Image/aligned/train_00005_aligned.jpg").write_bytes(b"")
    data = data_class("rafdb")(tmp_path, image_size=10, batch_size=50, num_workers=0)
    batches = list(data.image_loader("train"))
    assert [len(batch["index"]) for batch in batches] == [50, 50, 19]
    assert batches[0]["image"].shape == (50, 3, 10, 10)
    labels = data.splits["train"].labels["expression"].tolist()
    assert labels == [n % 7 for n in range(120) if n != 5]


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set 'rafbd'; known are .*rafdb"):
        check("rafbd", tmp_path)


def test_complete_set(tmp_path, monkeypatch):
    monkeypatch.setitem(OFFICIAL, "rafdb", RAFDB)
    report = check("rafdb", trees.rafdb(tmp_path))
    assert report.ok
    assert {count.what: count.found for count in report.counts} == RAFDB
    assert str(report).endswith("complete")


def test_counts_that_differ(tmp_path):
    report = check("rafdb", trees.rafdb(tmp_path))
    assert not report.ok
    found = {count.what: (count.found, count.expected) for count in report.counts}
    assert found["train"] == (3, 12271)
    assert found["train/fear"] == (0, 281)
    assert "differs by -12268" in str(report)
    assert str(report).endswith("NOT complete, see above")


def test_corrupt_images_and_dangling_links_are_listed(tmp_path, monkeypatch):
    monkeypatch.setitem(OFFICIAL, "rafdb", RAFDB)
    folder = trees.rafdb(tmp_path) / "basic/Image/aligned"
    (folder / "train_00002_aligned.jpg").unlink()
    (folder / "train_00002_aligned.jpg").symlink_to("elsewhere.jpg")
    (folder / "test_0001_aligned.jpg").write_bytes(b"\xff\xd8 half a picture")
    report = check("rafdb", tmp_path)
    assert report.missing == ["train_00002_aligned.jpg"]
    assert [name for name, _ in report.corrupt] == ["test_0001_aligned.jpg"]
    assert not report.ok
    assert "missing images: 1\n  train_00002_aligned.jpg" in str(report)
    assert check("rafdb", tmp_path, decode=False).ok


@pytest.mark.parametrize(
    ("name", "make", "image", "line"),
    [
        ("rafdb", trees.rafdb, "basic/Image/aligned/train_00002_aligned.jpg", "list_patition_label.txt:2"),
        ("affectnet7", trees.affectnet_csv, "Manually_Annotated_Images/2/c.png", "training.csv:4"),
    ],
)
def test_an_absent_image_is_found_without_decoding(tmp_path, name, make, image, line):
    (make(tmp_path) / image).unlink()
    report = check(name, tmp_path, decode=False)
    assert [Path(image).name] == [Path(missing).name for missing in report.missing]
    assert f"{line}: image " in report.problems[0]
    assert "is missing (1 in all)" in report.problems[0]
    assert str(report).endswith("NOT complete, see above")


LABELS = "basic/EmoLabel/list_patition_label.txt"
VALIDATION = "Manually_Annotated_file_lists/validation.csv"


@pytest.mark.parametrize(
    ("name", "make", "file", "content", "message"),
    [
        ("listed-pairs", trees.listed_pairs, "pairs.txt", "\n", "pairs.txt: empty"),
        ("listed-pairs", trees.listed_pairs, "pairs.txt", "A_0.jpg B_0.jpg 1\n" * 20, "20 of 20 pairs are of one"),
        ("listed-action-units", trees.listed_units, "test_list.txt", "b.jpg,0,1,1", "test_list.txt:1: 3 action units"),
        ("listed-action-units", trees.listed_units, "test_list.txt", "\nb.jpg,0,1\nc.jpg,0", "test_list.txt:3: 1 "),
        ("listed-action-units", trees.listed_units, "train_list.txt", "a.jpg", "train_list.txt:1: field 2 is missing"),
        ("listed-action-units", trees.listed_units, "train_list.txt", "", "train_list.txt: empty"),
        ("rafdb", trees.rafdb, LABELS, "train_00001.jpg 1", "no images for split 'test' of rafdb"),
        ("celeba", trees.celeba, "list_eval_partition.txt", "", "list_eval_partition.txt: empty"),
        ("affectnet7", trees.affectnet_csv, VALIDATION, "", "no images for split 'test' of affectnet7"),
    ],
)
def test_degenerate_lists_are_problems(tmp_path, monkeypatch, name, make, file, content, message):
    monkeypatch.delitem(OFFICIAL, name, raising=False)
    make(tmp_path)
    assert check(name, tmp_path).ok
    trees.text(tmp_path / file, content)
    report = check(name, tmp_path)
    assert not report.ok
    assert message in "\n".join(report.problems)


def test_wrong_labels_end_in_the_report(tmp_path):
    trees.rafdb(tmp_path)
    trees.text(tmp_path / "basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 9")
    report = check("rafdb", tmp_path)
    assert not report.ok
    assert report.problems[0].endswith("list_patition_label.txt:1: '9' is not an integer from 1 to 7")
    assert not check("rafdb", tmp_path / "nowhere").ok


def test_all_missing_images_of_a_pair_list_are_listed(tmp_path):
    trees.lfw(tmp_path)
    for person in ("Ann_Ax", "Ann_Bx"):
        (tmp_path / f"lfw/{person}/{person}_0002.jpg").unlink()
    report = check("lfw", tmp_path)
    assert report.missing == ["Ann_Ax/Ann_Ax_0002.jpg", "Ann_Bx/Ann_Bx_0002.jpg"]
    assert "pairs.txt:2: image Ann_Ax/Ann_Ax_0002.jpg is missing (2 in all)" in report.problems[0]


def test_head_pose_counts_images_before_the_angle_rule(tmp_path):
    report = check("300w-lp-aflw2000", trees.head_pose(tmp_path))
    found = {count.what: count.found for count in report.counts}
    assert (found["300W-LP"], found["300W-LP/IBUG"], found["300W-LP/IBUG_Flip"], found["AFLW2000"]) == (4, 2, 0, 2)
    assert (found["train"], found["test"]) == (2, 1)
    assert not report.ok


def test_counts_of_images_survive_a_missing_label_file(tmp_path):
    (trees.head_pose(tmp_path) / "AFLW2000/image00002.mat").unlink()
    report = check("300w-lp-aflw2000", tmp_path)
    assert {count.what: count.found for count in report.counts}["AFLW2000"] == 2
    assert "1 of 2 .mat files are missing (image00002.mat)" in report.problems[0]


def test_official_numbers_add_up():
    for name, counts in OFFICIAL.items():
        assert name in DATA_SETS
        for split in ("train", "val", "test"):
            known = {key: n for key, n in counts.items() if n is not None}
            classes = [n for key, n in known.items() if key.startswith(f"{split}/") and key.count(" ") == 0]
            if classes and "pairs" not in str(counts):
                assert sum(classes) == counts[split], (name, split)
    head_pose = OFFICIAL["300w-lp-aflw2000"]
    assert sum(n for key, n in head_pose.items() if key.startswith("300W-LP/")) == head_pose["300W-LP"]
    disfa = OFFICIAL["disfa"]
    assert sum(n for key, n in disfa.items() if "subject" in key) == disfa["test"]


@pytest.mark.parametrize(
    ("name", "make", "lines"),
    [
        ("rafdb-compound", lambda root: trees.rafdb(root, "compound"), ["train/sadly surprised 1 not known",
                                                                        "test/sadly fearful 0 not known"]),
        ("cplfw", trees.cplfw, ["test 60 not known", "test/fold 0 pairs 4 600 differs by -596"]),
        ("listed-pairs", trees.listed_pairs, ["test 40 -", "test/fold 0 pairs 2 -"]),
    ],
)  # fmt: skip
def test_numbers_that_nobody_published_say_so(tmp_path, name, make, lines):
    printed = [" ".join(line.split()) for line in str(check(name, make(tmp_path))).splitlines()]
    assert set(lines) <= set(printed)


def test_a_class_of_cifar10_that_is_short_is_seen(tmp_path, monkeypatch):
    trees.cifar10(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    report = check("cifar10", tmp_path)
    found = {count.what: (count.found, count.expected) for count in report.counts}
    assert found["train/frog"] == (1, 5000)
    assert found["test/truck"] == (0, 1000)
    assert len(found) == 22  # the class names of the release are those of the official counts
    assert (OFFICIAL["stl10"]["train/monkey"], OFFICIAL["stl10"]["test/car"]) == (500, 800)


@pytest.mark.parametrize("cropping", [LandmarkCrop(), UprightCrop()])
def test_a_split_without_images_is_told_whatever_the_cropping(tmp_path, cropping):
    for path in (trees.affectnet_arrays(tmp_path) / "val_set").rglob("*.*"):
        path.unlink()
    report = check("affectnet7", tmp_path, cropping=cropping)
    assert report.problems == [f"{tmp_path}: no images for split 'test' of affectnet7"]
    assert report.counts[0].found == 3


def test_real_lfw_a_is_complete(shared_data):
    report = check("lfw", shared_data, decode=False)
    assert report.ok, str(report)


def test_real_fer2013_counts(shared_data, tmp_path):
    for name in ("fer2013_train.zip", "fer2013_eval.zip"):
        zipfile.ZipFile(shared_data / name).close()
        (tmp_path / name).symlink_to(shared_data / name)
    report = check("fer2013", tmp_path, decode=False)
    assert report.ok, str(report)
