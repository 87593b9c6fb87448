import logging
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning.data.releases.fer2013 import CLASSES, FER2013
from pcfrl_lightning.errors import DataError

COUNTS = {
    "train": [3995, 436, 4097, 7215, 4830, 3171, 4965],
    "val": [467, 56, 496, 895, 653, 415, 607],
    "test": [491, 55, 528, 879, 594, 416, 626],
}
USAGES = (("Training", "train", "train"), ("PublicTest", "validation", "val"), ("PrivateTest", "test", "test"))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 7, 48, 48), dtype=np.uint8)


@pytest.fixture
def tree(tmp_path, images):
    for usage, (prefix, folder, _) in enumerate(USAGES):
        for code, name in enumerate(CLASSES):
            path = tmp_path / "tree" / folder / name / f"{prefix}_{code}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(images[usage, code]).save(path)
    return tmp_path / "tree"


def check(data: FER2013, images: np.ndarray) -> None:
    assert set(data.splits) == {"train", "val", "test"}
    for usage, (_, _, split) in enumerate(USAGES):
        faces = data.splits[split]
        assert faces.name == f"fer2013/{split}"
        assert faces.class_names["expression"] == list(CLASSES)
        codes = faces.labels["expression"].tolist()
        assert sorted(codes) == list(range(7))
        for row, code in enumerate(codes):
            np.testing.assert_array_equal(faces.image(row)[..., 0], images[usage, code])


def csv_of(images, order=("emotion", "pixels", "Usage"), extra=()):
    lines = [",".join(order)]
    for usage, (name, _, _) in enumerate(USAGES):
        for code in range(7):
            row = {"emotion": str(code), "pixels": " ".join(map(str, images[usage, code].ravel())), "Usage": name}
            lines.append(",".join(row[key.strip()] for key in order))
    return "\n".join([*lines, *extra]) + "\n"


@pytest.mark.parametrize("order", [("emotion", "pixels", "Usage"), ("emotion", " Usage", " pixels")])
@pytest.mark.parametrize("folder", [True, False])
def test_csv(tmp_path, images, order, folder):
    path = tmp_path / "fer2013.csv"
    path.write_text(csv_of(images, order))
    check(FER2013(tmp_path if folder else path), images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "label,image,split\n0,1 2,x\n",
            r"fer2013.csv: expected the header 'emotion,pixels,Usage', found 'label,image,",
        ),
        ("", "expected the header"),
        ("emotion,pixels,Usage\n", "no rows below the header"),
    ],
)
def test_csv_with_a_wrong_header(tmp_path, text, message):
    (tmp_path / "fer2013.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        _ = FER2013(tmp_path).splits


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,{pixels},Training", "line 23: emotion must be 0..6, got '9'"),
        ("1,{pixels},Train", "line 23: Usage must be Training"),
        ("1,1 2 3,Training", r"1 of 22 images cannot be read \(more than 1 %\), the first is line 23"),
        ("1,,Training", "the first is line 23"),
        ("1", r"fer2013\.csv:23: 1 columns, but the header has 3"),
        ("1,{pixels},Training,x", r"fer2013\.csv:23: 4 columns, but the header has 3"),
    ],
)
def test_csv_with_a_damaged_row(tmp_path, images, row, message):
    extra = [row.format(pixels=" ".join(["7"] * 2304))]
    (tmp_path / "fer2013.csv").write_text(csv_of(images, extra=extra))
    with pytest.raises(DataError, match=message):
        _ = FER2013(tmp_path).splits


def test_csv_with_a_further_column_and_a_short_row(tmp_path):
    row = "3," + " ".join(["7"] * 2304)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,extra,Usage\n{row},x,Training\n{row},Training\n")
    with pytest.raises(DataError, match=r"fer2013\.csv:3: 3 columns, but the header has 4"):
        _ = FER2013(tmp_path).splits


def test_blank_lines_of_a_csv_are_no_images(tmp_path, images, caplog):
    (tmp_path / "fer2013.csv").write_text(csv_of(images) + "\n\n  \n")
    with caplog.at_level(logging.WARNING):
        check(FER2013(tmp_path), images)
    assert not caplog.messages


def test_an_archive_with_backslashes(tree, images, tmp_path):
    with zipfile.ZipFile(tmp_path / "fer2013.zip", "w") as archive:
        for file in tree.rglob("*.png"):
            archive.writestr(file.relative_to(tree).as_posix().replace("/", "\\"), file.read_bytes())
    check(FER2013(tmp_path / "fer2013.zip"), images)


def test_csv_with_few_damaged_rows(tmp_path, caplog):
    good = "3," + " ".join(["7"] * 2304) + ",Training"
    rows = [good] * 150
    rows[10] = "3," + " ".join(["300"] * 2304) + ",Training"
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    with caplog.at_level(logging.WARNING):
        assert len(FER2013(tmp_path).splits["train"]) == 149
    assert "1 of 150 images cannot be read and were left out" in caplog.text


def test_class_folders(tree, images):
    check(FER2013(tree), images)


def test_class_folders_with_usage_names_and_other_spellings(tree, images):
    for prefix, folder, _ in USAGES:
        (tree / folder).rename(tree / f"_{prefix}")
        (tree / f"_{prefix}").rename(tree / prefix)
        (tree / prefix / "happy").rename(tree / prefix / "Happiness")
    check(FER2013(tree), images)


def test_the_usage_in_a_file_name_wins_over_the_folder(tree, images):
    for file in (tree / "validation").rglob("*.png"):
        shutil.move(file, tree / "test" / file.parent.name / file.name)
    shutil.rmtree(tree / "validation")
    check(FER2013(tree), images)


def test_augmented_copies_are_left_out(tree, images, caplog):
    shutil.copy(tree / "train" / "disgust" / "Training_1.png", tree / "train" / "disgust" / "Training_1_aug2.png")
    with caplog.at_level(logging.WARNING):
        check(FER2013(tree), images)
    assert "1 augmented copies" in caplog.text


def test_a_folder_that_is_no_class(tree):
    (tree / "train" / "happy").rename(tree / "train" / "bored")
    with pytest.raises(DataError, match=r"bored/Training_3\.png' tells no split or no class; expected fer2013\.csv"):
        _ = FER2013(tree).splits


def test_zips_of_class_folders(tree, images, tmp_path):
    paths = []
    for name, folders in (("fer2013_train", ["train"]), ("fer2013_eval", ["validation", "test"])):
        paths.append(tmp_path / f"{name}.zip")
        with zipfile.ZipFile(paths[-1], "w") as archive:
            for folder in folders:
                for file in (tree / folder).rglob("*.png"):
                    archive.write(file, file.relative_to(tree).as_posix())
    shutil.rmtree(tree)
    check(FER2013(tmp_path), images)
    check(FER2013(paths), images)
    assert set(FER2013(paths[1]).splits) == {"val", "test"}
    assert FER2013(paths).splits["test"].fingerprint() == FER2013(tmp_path).splits["test"].fingerprint()


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none: does not exist; expected fer2013\.csv"):
        _ = FER2013(tmp_path / "none").splits
    with pytest.raises(DataError, match=r"no FER-2013 found; expected fer2013\.csv"):
        _ = FER2013(tmp_path).splits


def test_duplicates_of_train(tmp_path, images):
    images[2, 4] = images[0, 1]
    (tmp_path / "fer2013.csv").write_text(csv_of(images))
    assert FER2013(tmp_path).duplicates_of_train("test").tolist() == [False] * 4 + [True] + [False] * 2
    assert not FER2013(tmp_path).duplicates_of_train("val").any()


def test_the_real_archives(shared_data):
    data = FER2013(shared_data, num_workers=0)
    for split, counts in COUNTS.items():
        assert torch.bincount(data.splits[split].labels["expression"]).tolist() == counts
    duplicates = data.duplicates_of_train("test")
    assert duplicates.dtype == torch.bool
    assert (len(duplicates), int(duplicates.sum())) == (3589, 288)
    faces = data.splits["val"]
    black = [row for row in range(len(faces)) if faces.image(row).max() == 0]
    assert [faces.source.name(row) for row in black] == ["validation/angry/PublicTest_5543497.jpg"]
