import shutil
import zipfile

import numpy as np
import pytest
import torch

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop
from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.releases import affectnet, bu3dfe, fer2013
from pcfrl_lightning.data.releases.affectnet import AffectNet7
from pcfrl_lightning.data.releases.bu3dfe import BU3DFE
from pcfrl_lightning.data.releases.fer2013 import FER2013
from pcfrl_lightning.data.releases.pcl_lists import BU3DFERendered, ListedActionUnits, ListedExpressions
from pcfrl_lightning.data.releases.rafdb import RAFDB, RAFDBCompound
from pcfrl_lightning.data.releases.release import MissingImages
from pcfrl_lightning.errors import DataError


def names(faces):
    return [faces.source.name(i) for i in range(len(faces))]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (RAFDB.classes, "surprise fear disgust happiness sadness anger neutral"),
        (affectnet.CLASSES, "neutral happy sad surprise fear disgust anger"),
        (fer2013.CLASSES, "angry disgust fear happy sad surprise neutral"),
        (bu3dfe.CLASSES, "anger disgust fear happiness sadness surprise neutral"),
    ],
)
def test_class_numbers_are_those_of_the_official_descriptions(classes, expected):
    assert list(classes) == expected.split()


def test_compound_class_numbers_are_those_of_the_official_description():
    pairs = "happily surprised/disgusted, sadly fearful/angry/surprised/disgusted, fearfully angry/surprised, "
    pairs += "angrily surprised/disgusted, disgustedly surprised"
    expected = [f"{a} {b}" for a, others in (each.split() for each in pairs.split(", ")) for b in others.split("/")]
    assert list(RAFDBCompound.classes) == expected


@pytest.mark.parametrize("inside", [True, False])
def test_rafdb_reads_the_official_list(tmp_path, inside):
    trees.rafdb(tmp_path)
    splits = RAFDB(tmp_path if inside else tmp_path / "basic").build()
    assert names(splits["train"]) == [f"train_{n:05d}_aligned.jpg" for n in (1, 2, 3)]
    assert names(splits["test"]) == ["test_0001_aligned.jpg", "test_0002_aligned.jpg"]
    assert splits["train"].labels["expression"].tolist() == [4, 0, 6]
    named = [splits["test"].class_names["expression"][k] for k in splits["test"].labels["expression"]]
    assert named == ["happiness", "neutral"]
    assert splits["train"].image(0).shape == (100, 100, 3)


def test_rafdb_crops_the_original_by_its_five_points(tmp_path):
    trees.rafdb(tmp_path)
    faces = RAFDB(tmp_path, images="original", cropping=LandmarkCrop(0.0)).build()["train"]
    # points span x 60..80, y 40..60: doubled about the centre 50..90, 30..70, a square of side 40
    whole = RAFDB(tmp_path, images="original").build()["train"].image(0)
    np.testing.assert_array_equal(faces.image(0), whole[30:70, 50:90])
    with pytest.raises(ValueError, match="images=original"):
        RAFDB(tmp_path, cropping=LandmarkCrop())


def test_rafdb_compound_has_eleven_classes(tmp_path):
    trees.rafdb(tmp_path, "compound")
    assert len(RAFDBCompound(tmp_path).build()["train"].class_names["expression"]) == 11


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00001.jpg 8", r":1: '8' is not an integer from 1 to 7"),
        ("train_00001.jpg 0", r":1: '0' is not an integer from 1 to 7"),
        ("train_00001.jpg nan", r":1: 'nan' is not a finite number"),
        ("train_00001.jpg", r":1: expected 2 fields, found 1"),
        ("train_00001.jpg 1\nother_1.jpg 2", r":2: 'other_1.jpg' begins neither"),
        ("train_00001.jpg 1\n../../secret.jpg 2", r":2: '../../secret.jpg' must be a path relative"),
        ("train_/../../x.jpg 2", "must be a path relative"),
        ("/etc/passwd 2", "must be a path relative"),
    ],
)
def test_rafdb_names_file_and_line_of_a_wrong_label(tmp_path, line, message):
    trees.rafdb(tmp_path)
    trees.text(tmp_path / "basic/EmoLabel/list_patition_label.txt", line)
    with pytest.raises(DataError, match=message) as caught:
        RAFDB(tmp_path).build()
    assert "list_patition_label.txt:" in str(caught.value)


def test_rafdb_zip_without_an_image_names_file_and_line(tmp_path):
    base = trees.rafdb(tmp_path) / "basic"
    with zipfile.ZipFile(base / "Image/aligned.zip", "w") as archive:
        for path in sorted((base / "Image/aligned").iterdir()):
            if path.name != "test_0001_aligned.jpg":
                archive.write(path, f"aligned/{path.name}")
    shutil.rmtree(base / "Image/aligned")
    message = r"list_patition_label.txt:4: image test_0001_aligned.jpg is missing \(1 in all\)"
    with pytest.raises(MissingImages, match=message):
        RAFDB(tmp_path).build()


def test_rafdb_without_its_list_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="list_patition_label"):
        RAFDB(tmp_path).build()


@pytest.mark.parametrize("make", [trees.affectnet_arrays, trees.affectnet_csv])
def test_affectnet_drops_contempt_and_non_faces(tmp_path, make):
    splits = AffectNet7(make(tmp_path)).build()
    expected = {
        trees.affectnet_arrays: (
            [0, 6, 3], [f"train_set/images/{number}.jpg" for number in (0, 1, 3)], [1], ["val_set/images/0.jpg"],
        ),
        trees.affectnet_csv: ([2, 5], ["1/a.jpg", "2/c.png"], [2], ["3/d.jpg"]),
    }[make]  # fmt: skip
    train, test = splits["train"], splits["test"]
    assert (train.labels["expression"].tolist(), names(train)) == expected[:2]
    assert (test.labels["expression"].tolist(), names(test)) == expected[2:]
    assert train.image(0).ndim == 3
    assert train.class_names["expression"] == test.class_names["expression"] == list(affectnet.CLASSES)


def test_affectnet_may_lie_below_a_folder_of_any_name(tmp_path):
    root = trees.affectnet_csv(tmp_path / "Automatically")
    trees.text(root / "Automatically_annotated_file_lists/training.csv", "no list that is read")
    assert len(AffectNet7(root).build()["train"]) == 2


def test_affectnet_crops_by_either_kind_of_landmarks(tmp_path):
    arrays = AffectNet7(trees.affectnet_arrays(tmp_path / "a"), cropping=LandmarkCrop(0.0)).build()["train"]
    assert arrays.image(0).shape == (98, 98, 3)
    csv = AffectNet7(trees.affectnet_csv(tmp_path / "b"), cropping=LandmarkCrop(0.0)).build()["train"]
    assert csv.image(0).shape == (20, 20, 3)


def test_affectnet_reports_a_wrong_code(tmp_path):
    trees.affectnet_arrays(tmp_path / "a")
    np.save(tmp_path / "a/train_set/annotations/0_exp.npy", np.array("11"))
    with pytest.raises(DataError, match=r"0_exp.npy: '11' is not an expression code"):
        AffectNet7(tmp_path / "a").build()
    (tmp_path / "a/train_set/annotations/0_exp.npy").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"0_exp.npy: no readable array"):
        AffectNet7(tmp_path / "a").build()
    listing = trees.affectnet_csv(tmp_path / "b") / "Manually_Annotated_file_lists/training.csv"
    listing.write_text(listing.read_text().replace(",2,0.1", ",12,0.1"))
    with pytest.raises(DataError, match=r"training.csv:2: '12' is not an integer from 0 to 10"):
        AffectNet7(tmp_path / "b").build()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1/a.jpg,1,2,30,30,40;50,2,0.1,\xff\n", r"training.csv: not a UTF-8 text file"),
        (b'"' + b"a" * 200_000, r"training.csv:1: not a CSV file \(field larger"),
    ],
)
def test_affectnet_names_a_list_that_is_no_text(tmp_path, content, message):
    trees.affectnet_csv(tmp_path)
    (tmp_path / "Manually_Annotated_file_lists/training.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        AffectNet7(tmp_path).build()


def test_other_lists_that_are_no_text_are_named(tmp_path):
    (tmp_path / "fer2013.csv").write_bytes(b"emotion,pixels,Usage\n\xff")
    with pytest.raises(DataError, match=r"fer2013.csv: not a UTF-8 text file"):
        FER2013(tmp_path).build()
    (tmp_path / "faces.txt").write_bytes(b"a.jpg\n\xff.jpg\n")
    with pytest.raises(DataError, match=r"faces.txt: not a UTF-8 text file"):
        FaceFolder(tmp_path, list_file=tmp_path / "faces.txt").build()


def test_affectnet_counts_missing_annotations(tmp_path):
    folder = trees.affectnet_arrays(tmp_path) / "train_set/annotations"
    for name in ("1_lnd.npy", "3_lnd.npy"):
        (folder / name).unlink()
    assert len(AffectNet7(tmp_path).build()["train"]) == 3
    with pytest.raises(DataError, match=r"2 of 8 annotations are missing \([^ ]*/1_lnd.npy, [^ ]*/3_lnd.npy\)"):
        AffectNet7(tmp_path, cropping=LandmarkCrop()).build()
    for number in range(4):
        (folder / f"{number}_exp.npy").unlink()
    message = r"4 of 4 annotations are missing \([^ ]*/0_exp.npy, [^ ]*/1_exp.npy, [^ ]*/2_exp.npy, \.\.\.\)"
    with pytest.raises(DataError, match=message):
        AffectNet7(tmp_path).build()


def test_bu3dfe_splits_by_subject(tmp_path):
    splits = BU3DFE(trees.bu3dfe(tmp_path), fold=1, folds=3).build()
    assert set(splits["train"].labels["subject"].tolist()) == {0, 2}
    test = splits["test"]
    assert names(test)[0] == "F0002/F0002_AN01WH_F2D.bmp"
    assert test.labels["expression"].tolist() == [0, 0, 6, 5, 5]
    assert test.labels["level"].tolist() == [1, 4, 0, 1, 4]
    assert test.image(0).shape == (30, 40, 3)


def test_bu3dfe_finds_subjects_that_are_links_and_no_hidden_copies(tmp_path):
    trees.bu3dfe(tmp_path / "real")
    (tmp_path / "real/F0001/.thumbnails").mkdir()
    shutil.copy(next((tmp_path / "real/F0001").glob("*.bmp")), tmp_path / "real/F0001/.thumbnails")
    (tmp_path / "links").mkdir()
    for subject in (tmp_path / "real").iterdir():
        (tmp_path / "links" / subject.name).symlink_to(subject)
    assert len(BU3DFE(tmp_path / "links", folds=3).build()["test"])


def test_bu3dfe_refuses_a_level_that_does_not_exist(tmp_path):
    trees.bu3dfe(tmp_path)
    trees.image(tmp_path / "F0001/F0001_AN00WH_F2D.bmp")
    with pytest.raises(DataError, match="level 00 belongs to neutral"):
        BU3DFE(tmp_path).build()


def test_rendered_list_gives_pose_classes(tmp_path):
    for name in ("F025/Disgust/013.png", "M043/Happy/0.png", "M044/Happy/0.png"):
        trees.image(tmp_path / name)
    trees.text(tmp_path / "train_list.txt", "F025/Disgust/013.png,1,8\nM043/Happy/0.png,3,0\n")
    trees.text(tmp_path / "test_list.txt", "M044/Happy/0.png,3,0")
    train = BU3DFERendered(tmp_path).build()["train"]
    assert train.labels["pose_class"].tolist() == [8, 0]
    assert train.labels["expression"].tolist() == [1, 3]
    trees.text(tmp_path / "train_list.txt", "F025/Disgust/013.png,6,8\nM043/Happy/0.png,99,0\n")
    with pytest.raises(DataError, match=r"train_list.txt:2: '99' is not an integer from 0 to 6"):
        BU3DFERendered(tmp_path).build()
    trees.text(tmp_path / "train_list.txt", "F025/Disgust/013.png,1,8\n../x.png,3,0\n")
    with pytest.raises(DataError, match=r"train_list.txt:2: '../x.png' must be"):
        BU3DFERendered(tmp_path).build()
    trees.text(tmp_path / "train_list.txt", "F025/Disgust/013.png,1,8\nF025/absent.png,3,0\n")
    with pytest.raises(DataError, match=r"train_list.txt:2: image F025/absent.png is missing \(1 in all\)"):
        BU3DFERendered(tmp_path).build()


@pytest.mark.parametrize("first", [0, 1])
def test_listed_expressions(tmp_path, first):
    for number in (1, 2):
        trees.image(tmp_path / f"a/{number}.jpg")
    trees.text(tmp_path / "train_list.txt", f"a/1.jpg {6 + first}\n")
    trees.text(tmp_path / "test_list.txt", f"a/2.jpg {first}\n")
    splits = ListedExpressions(tmp_path, first_label=first).build()
    assert splits["train"].labels["expression"].tolist() == [6]
    assert splits["test"].labels["expression"].tolist() == [0]


def test_listed_action_units(tmp_path):
    for number in (0, 1):
        trees.image(tmp_path / f"SN001/{number}.jpg")
    trees.text(tmp_path / "train_list.txt", "SN001/0.jpg,0,1,0,1,0,0,0,1\n")
    trees.text(tmp_path / "test_list.txt", "SN001/1.jpg,1,1,0,1,0,0,0,1\n")
    labels = ListedActionUnits(tmp_path).build()["train"].labels["action_units"]
    torch.testing.assert_close(labels, torch.tensor([[0.0, 1, 0, 1, 0, 0, 0, 1]]))
    trees.text(tmp_path / "train_list.txt", "SN001/0.jpg,0,1,0,2,0,0,0,1\n")
    with pytest.raises(DataError, match=r"train_list.txt:1: '2' is not an integer from 0 to 1"):
        ListedActionUnits(tmp_path).build()
