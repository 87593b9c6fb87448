"""Labels of a user: class folders and tables beside the images."""

import gzip
import logging
import zipfile

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.folders.labelled import LabelledFolder
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.split import pairs_of
from pcfrl_lightning.errors import DataError


def pictures(folder, *names):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(path)
    return folder


def pack(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def faces(tmp_path):
    """Eight images of four people, in one folder."""
    return pictures(tmp_path / "faces", *[f"p{i // 2}/{i}.png" for i in range(8)])


TABLE = "\n".join(["image,mood,age,height,person", *[f"p{i // 2}/{i}.png,{'ab'[i % 2]},{20 + i},{1.5 + i},p{i // 2}"
                                                   for i in range(8)]])  # fmt: skip


def opened(faces, text, path="labels.csv", **options):
    file = faces.parent / path
    if isinstance(text, str):
        text = text.encode()
    file.write_bytes(gzip.compress(text) if path.endswith(".gz") else text)
    return LabelledFolder(faces, file, **options)


def everything(data):
    """Labels by image name, of all splits."""
    return {
        split.source.name(row): {key: values[row].tolist() for key, values in split.labels.items()}
        for split in data.build().values()
        for row in range(len(split))
    }


def test_class_folders_and_their_fraction(tmp_path):
    root = pictures(tmp_path / "x", *[f"wrapper/{'ab'[i % 2]}/deep/{i}.png" for i in range(20)])
    splits = LabelledFolder(root, seed=3).build()
    assert {name: len(faces) for name, faces in splits.items()} == {"train": 16, "test": 4}
    for faces in splits.values():
        names = [faces.source.name(row).split("/")[1] for row in range(len(faces))]
        assert [faces.class_names["class"][k] for k in faces.labels["class"]] == names
    drawn = [LabelledFolder(root, seed=seed).build()["test"].source.fingerprint() for seed in (3, 3, 4)]
    assert drawn[0] == splits["test"].source.fingerprint() == drawn[1] != drawn[2]
    assert set(LabelledFolder(root, test_fraction=0, val_fraction=0.5).build()) == {"train", "val"}


@pytest.mark.parametrize("spelling", ["val", "valid", "Validation"])
def test_split_folders(tmp_path, spelling):
    names = [f"{split}/{c}/{split}{c}.png" for split in ("train", spelling, "test") for c in ("2", "10")]
    folder = pictures(tmp_path / "x", *names)
    for root in (folder, pack(folder, tmp_path / "one.zip")):
        splits = LabelledFolder(root).build()
        assert list(splits) == ["train", "val", "test"]
        assert splits["val"].class_names == {"class": ["2", "10"]}
        assert [splits["val"].source.name(row) for row in (0, 1)] == sorted(n for n in names if spelling in n)
    pictures(folder, "extra/2/0.png")
    with pytest.raises(DataError, match=r"'extra' beside '\w+' is no split; splits are train, val"):
        LabelledFolder(folder).build()
    with pytest.raises(DataError, match=r"0\.png is in no class folder; expected <class>/ or <split>/<class>/"):
        LabelledFolder(pictures(tmp_path / "y", "train/a/1.png", "train/0.png")).build()


def test_a_table_gives_labels_of_every_kind(faces):
    data = opened(faces, TABLE, group_column="person", test_fraction=0.5)
    splits = data.build()
    labels = splits["train"].labels
    assert {name: value.dtype for name, value in labels.items()} == {
        "mood": torch.long, "age": torch.long, "height": torch.float32, "person": torch.long, "group": torch.long,
    }  # fmt: skip
    assert splits["test"].class_names == {"mood": ["a", "b"], "person": ["p0", "p1", "p2", "p3"]}
    assert len(splits["train"]) == len(splits["test"]) == 4
    assert not set(labels["group"].tolist()) & set(splits["test"].labels["group"].tolist())
    for name, values in everything(data).items():
        number = int(name[3])
        assert (values["mood"], values["age"], values["height"]) == (number % 2, 20 + number, 1.5 + number)
        assert values["person"] == values["group"] == number // 2


def test_the_label_group_is_that_of_the_group_column_although_a_column_is_named_so(faces):
    train = opened(faces, TABLE.replace("mood", "group"), group_column="person", test_fraction=0).build()["train"]
    assert train.labels["group"].tolist() == train.labels["person"].tolist()
    assert "group" not in train.class_names


def test_what_cannot_be_drawn_from_one_group_is_said(faces):
    one = TABLE.replace("p1\n", "p0\n").replace(",p2", ",p0").replace(",p3", ",p0").replace(",p1", ",p0")
    for fractions, what in (({}, "test"), ({"test_fraction": 0, "val_fraction": 0.5}, "val")):
        told = f"person is one group, of which no {what} is drawn: set {what}_fraction to 0"
        with pytest.raises(DataError, match=told):
            opened(faces, one, group_column="person", label_columns=["age"], **fractions).build()
    assert list(opened(faces, one, group_column="person", label_columns=["age"], test_fraction=0).build()) == ["train"]


def test_the_column_of_images_is_no_label(faces):
    for missing in ("refuse", "skip"):
        with pytest.raises(DataError, match=r"labels\.csv: has no column 'image', only mood, age"):
            opened(faces, TABLE, label_columns=["image", "age"], missing=missing).build()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (TABLE, "labels.csv"),
        ("\ufeff" + TABLE.replace("\n", "\r\n") + "\r\n\r\n", "labels.csv"),
        (TABLE.replace(",", ";").replace("1.5", "1,5"), "labels.csv"),
        (TABLE.replace(",", "\t"), "labels.tsv"),
        (TABLE, "labels.csv.gz"),
        (TABLE.replace("/", "\\").replace("p0\\0.png", '"./p0/0.png"'), "labels.csv"),
        (TABLE.replace(".png", ""), "labels.csv"),
        (TABLE.replace("p0/", "").replace("p1/", "faces/../p1/".replace("faces/../", "")), "labels.csv"),
        ("\n".join(f"{i},{line}" if i else f",{line}" for i, line in enumerate(TABLE.split("\n"))), "labels.csv"),
        (TABLE.replace("image,", "picture,"), "labels.csv"),
    ],
    ids=["plain", "windows", "semicolons", "tabs", "gz", "backslashes", "no suffix", "ends", "row numbers", "by value"],
)
def test_forms_of_one_table(faces, text, path):
    expected = everything(opened(faces, TABLE))
    assert everything(opened(faces, text, path)) == expected
    assert len(expected) == 8


def test_the_root_may_be_archives_in_several_ways(faces, tmp_path):
    expected = everything(opened(faces, TABLE))
    folder = tmp_path / "zips"
    folder.mkdir()
    one = pictures(tmp_path / "one", *[f"w/p{i // 2}/{i}.png" for i in range(4)])
    two = pictures(tmp_path / "two", *[f"w/p{i // 2}/{i}.png" for i in range(4, 8)])
    parts = [pack(one, folder / "part_1.zip"), pack(two, folder / "part_2.zip")]
    for root in (parts, folder, folder / "part_*.zip"):
        found = everything(LabelledFolder(root, faces.parent / "labels.csv"))
        assert {name.removeprefix("w/"): values for name, values in found.items()} == expected


def test_columns_of_classes(faces):
    text = TABLE.replace("age,", "parts,").replace(",20,", ",a|b,").replace(",21,", ",|,")
    for number in range(2, 8):
        text = text.replace(f",{20 + number},", ",b,")
    split = opened(faces, text, several_columns=["parts"], test_fraction=0).build()["train"]
    assert split.class_names["parts"] == ["a", "b"]
    assert split.labels["parts"].tolist() == [[1, 1], [0, 0], *[[0, 1]] * 6]
    none = "image,parts\n" + "".join(f"p{i // 2}/{i}.png,{'|' * (1 + i % 2)}\n" for i in range(8))
    with pytest.raises(DataError, match=r"labels.csv: 'parts' names no class in any row"):
        opened(faces, none, several_columns=["parts"], test_fraction=0).build()
    split = opened(faces, TABLE, class_columns=["age"], test_fraction=0).build()["train"]
    assert split.class_names["age"] == [str(20 + i) for i in range(8)]
    assert split.labels["age"].tolist() == list(range(8))
    padded = opened(faces, TABLE.replace(",20,", ",020,"), test_fraction=0).build()["train"]
    assert padded.class_names["age"][0] == "020"


def test_integers_of_18_digits_are_exact(faces):
    long = 201_701_091_505_573_350
    data = opened(faces, TABLE.replace("age", "id").replace(",2", f",{long // 10}"), label_columns=["id"])
    assert {values["id"] for values in everything(data).values()} == {long + number for number in range(8)}


def test_a_split_column(faces):
    text = "\n".join(f"{line},{split}" for line, split in zip(
        TABLE.split("\n"), ["part", *["train"] * 4, *["VALID"] * 2, *["test"] * 2], strict=True))  # fmt: skip
    splits = opened(faces, text, split_column="part", group_column="person").build()
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "val": 2, "test": 2}
    assert "part" not in splits["train"].labels
    with pytest.raises(DataError, match=r"labels\.csv:4: 'part' is 'dev'; splits are train, val, valid, validation"):
        opened(faces, text.replace("p1,train", "p1,dev", 1), split_column="part").build()
    shared = text.replace("p1,train", "p1,test", 1)
    assert len(opened(faces, shared, split_column="part").build()["test"]) == 3
    with pytest.raises(DataError, match=r"labels\.csv:5: person 'p1' is in train, but in test at line 4"):
        opened(faces, shared, split_column="part", group_column="person").build()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("p1/3.png", "p1/2.png", r"labels\.csv:5: p1/2\.png stands in .*labels\.csv:4 already; keep one"),
        ("p1/3.png", "../3.png", r"labels\.csv:5: '\.\./3\.png' is not the name of an image"),
        ("p1/3.png", "", r"labels\.csv:5: '' is not the name of an image"),
        ("p1/3.png,", "", r"labels\.csv:5: 4 fields, but the header has 5"),
        ("mood,age", "age,age", r"labels\.csv: the column 'age' stands twice"),
        ("image,mood,age,height,person\n", "", r"labels\.csv:1: 'p0/0\.png' is an image, but the first line must name"),
        (TABLE[TABLE.index("\n") :], "\n", r"labels\.csv: no rows below the header"),
        ("image", "who", None),
    ],
)
def test_faults_of_a_table_name_the_line(faces, old, new, message):
    data = opened(faces, TABLE.replace(old, new, 1))
    if message is None:
        assert len(everything(data)) == 8
    else:
        with pytest.raises(DataError, match=message):
            data.build()


def test_a_column_that_is_no_label_says_why(faces):
    text = TABLE.replace("mood,", "site,mood,").replace(".png,", ".png,here,").replace(",25,", ",old,")
    text = text.replace(",here,b,", ",here,,", 1)
    split = opened(faces, text, test_fraction=0).build()["train"]
    assert set(split.labels) == {"height", "person"}
    assert "labels.csv:3: 'mood' is empty (1 in all)" in split.unusable["mood"]
    assert "labels.csv:7: 'age' is 'old', but most of its cells are numbers" in split.unusable["age"]
    assert "'site' is 'here' in all rows" in split.subset([0, 1]).unusable["site"]
    for column in ("mood", "age", "site"):
        with pytest.raises(DataError, match=column):
            opened(faces, text, label_columns=[column]).build()
    skipped = opened(faces, text, test_fraction=0, missing="skip").build()["train"]
    assert len(skipped) == 7
    assert "mood" in skipped.labels
    assert len(opened(faces, text, label_columns=["height"], test_fraction=0, missing="skip").build()["train"]) == 8
    for option in ("label_columns", "class_columns", "several_columns"):
        with pytest.raises(
            DataError, match=r"labels\.csv: has no column 'weight', only image, site, mood, age, height"
        ):
            opened(faces, text, **{option: ["weight"]}).build()


def test_rows_without_image_are_left_out_with_a_warning(faces, caplog):
    caplog.set_level(logging.WARNING)
    assert len(everything(opened(faces, TABLE.replace("p1/3.png", "p9/3.png")))) == 7
    assert "labels.csv:5: image 'p9/3.png' is not in" in caplog.text
    assert "1 of 8 rows" in caplog.text
    with pytest.raises(DataError, match=r"labels\.csv:2: image 'q0/0\.png' .*\(8 of 8 rows .* named like 'p0/0\.png'"):
        opened(faces, "\n".join(line.replace("p", "q", 1) for line in TABLE.split("\n"))).build()


def test_an_image_that_could_be_two(faces):
    pictures(faces, "other/3.png")
    assert len(everything(opened(faces, TABLE))) == 8
    with pytest.raises(DataError, match=r"labels\.csv:5: '3\.png' may be other/3\.png and p1/3\.png; write more of"):
        opened(faces, TABLE.replace("p1/3.png", "3.png")).build()


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        (TABLE.encode("utf-16"), "a.csv", "a.csv: not a UTF-8 text file"),
        (TABLE.replace("mood", "größe").encode("latin1"), "a.csv", "a.csv: not a UTF-8 text file .*save it as UTF-8"),
        (b"no gzip", "a.csv", "a.csv: no rows below the header"),
        (TABLE.replace("p1/3.png", "x" * 140_000).encode(), "a.csv", "a.csv:.: not a CSV file"),
    ],
)
def test_files_that_are_no_table(faces, content, path, message):
    (faces / path).write_bytes(content)
    with pytest.raises(DataError, match=message):
        LabelledFolder(faces, path).build()  # relative to the root
    (faces / "a.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv\.gz: not readable"):
        LabelledFolder(faces, "a.csv.gz").build()


def test_a_table_beside_an_archive(faces, tmp_path):
    archive = pack(faces, tmp_path / "a.zip")
    (tmp_path / "beside.csv").write_text(TABLE)
    assert everything(LabelledFolder(archive, "beside.csv")) == everything(opened(faces, TABLE))
    with pytest.raises(FileNotFoundError, match=r"^none\.csv: no such table of labels; expected a csv"):
        LabelledFolder(archive, "none.csv").build()


def test_parquet_tables(faces):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = {"image": [f"p{i // 2}/{i}.png" for i in range(8)], "age": [20 + i for i in range(8)],
             "height": [float("nan"), *map(float, range(7))], "mood": [None, *"abababa"]}  # fmt: skip
    parquet.write_table(pyarrow.table(table), faces / "a.parquet")
    split = LabelledFolder(faces, "a.parquet", test_fraction=0).build()["train"]
    assert split.labels["age"].tolist() == [20 + i for i in range(8)]
    assert "a.parquet:1: 'height' is empty (1 in all)" in split.unusable["height"]
    assert "a.parquet:1: 'mood' is empty (1 in all)" in split.unusable["mood"]


def test_a_parquet_file_needs_pyarrow(faces):
    (faces / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"a\.parquet: (reading parquet needs pyarrow|not a readable parquet file)"):
        LabelledFolder(faces, "a.parquet").build()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_column": "person"}, "group_column names a column of a table: give the table as labels"),
        ({"labels": "a.csv", "split_column": "s", "test_fraction": 0.1}, "drop one of them"),
        ({"test_fraction": 0.5, "val_fraction": 0.5}, "below 1 together"),
        ({"missing": "drop"}, "missing must be refuse or skip"),
        ({"separator": ""}, "separator must not be empty"),
        ({"root": []}, "root must name a folder"),
        ({"root": ["a.zip", "b.zip", "x/../a.zip"]}, "root names a.zip twice; name it once"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        LabelledFolder(**{"root": "x", **options})


def test_the_command_line_takes_the_options():
    parser = ArgumentParser()
    parser.add_subclass_arguments(FaceData, "data")
    data = parser.instantiate_classes(parser.parse_args([
        "--data=pcfrl_lightning.data.folders.labelled.LabelledFolder", "--data.root=[a.zip, b.zip]",
        "--data.labels=x.csv", "--data.group_column=person", "--data.several_columns=[a, b]", "--data.image_size=32",
    ])).data  # fmt: skip
    assert (len(data.roots), data.group_column, data.several_columns, data.image_size) == (2, "person", ["a", "b"], 32)


def people(sizes):
    labels = torch.cat([torch.full((size,), person) for person, size in enumerate(sizes)])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return FaceSet(ArraySource(np.zeros((len(labels), 4, 4), np.uint8)), {"person": labels[order]})


@pytest.mark.parametrize(("sizes", "count", "folds"), [([10] * 39, 1000, 10), ([2, 5, 1, 9, 2, 3], 10**6, 3)])
def test_pairs_are_balanced_and_folds_have_no_common_person(sizes, count, folds):
    faces = people(sizes)
    person = faces.labels["person"]
    pairs = pairs_of(faces, "person", count, folds, seed=1)
    assert len(pairs.same) <= count
    assert torch.equal(person[pairs.first] == person[pairs.second], pairs.same)
    seen = [set(person[torch.cat([pairs.first[pairs.fold == k], pairs.second[pairs.fold == k]])].tolist())
            for k in range(folds)]  # fmt: skip
    assert len(set().union(*seen)) == sum(map(len, seen)) > 0
    for fold in range(folds):
        assert int(pairs.same[pairs.fold == fold].sum()) * 2 * folds == len(pairs.same)
    rows = torch.stack([pairs.first, pairs.second]).sort(dim=0).values.T.tolist()
    assert len(set(map(tuple, rows))) == len(rows)
    assert all(first != second for first, second in rows)
    again, other = pairs_of(faces, "person", count, folds, 1), pairs_of(faces, "person", count, folds, 2)
    assert torch.equal(again.first, pairs.first)
    assert not torch.equal(other.first[:20], pairs.first[:20])


def test_pairs_that_cannot_be_made():
    with pytest.raises(DataError, match="5 people by 'person' are too few for 3 folds"):
        pairs_of(people([2] * 5), "person", folds=3)
    with pytest.raises(DataError, match="3 folds need as many people of two images or more"):
        pairs_of(people([2, 2, *[1] * 8]), "person", folds=3)
    with pytest.raises(DataError, match="'age' is none"):
        pairs_of(people([2] * 5), "age")
    with pytest.raises(ValueError, match="folds >= 2"):
        pairs_of(people([2] * 5), "person", folds=1)


def test_real_tables_as_delivered(shared_data):
    counts = {}
    for root, options in {
        "orl_faces.zip": {},
        "lfw_a_view2_*.zip": {"labels": "lfw_emotions.csv"},
        "utkface_64.zip": {"labels": "utkface_labels.csv.gz"},
        "pointing04_112.zip": {"labels": "pointing04_labels.csv", "group_column": "subject"},
    }.items():
        if "labels" in options:
            options["labels"] = shared_data / options["labels"]
        splits = LabelledFolder(shared_data / root, **options).build()
        counts[root[:3]] = sum(map(len, splits.values()))
        first = splits["train"]
        if "group_column" in options:
            assert not set(first.labels["group"].tolist()) & set(splits["test"].labels["group"].tolist())
            row = [first.source.name(i).endswith("person01101-60-75.jpg") for i in range(len(first))]
            found = first.subset([row.index(True)]).labels if True in row else {}
            assert not found or (found["tilt"].item(), found["pan"].item()) == (-60, -75)
        elif root.startswith("utk"):
            ages = [int(first.source.name(i).split("/")[1].split("_")[0]) for i in range(len(first))]
            assert first.labels["age"].tolist() == ages
            assert "utkface_labels.csv.gz:15017: 'race' is empty (3 in all)" in first.unusable["race"]
    assert counts == {"orl": 390, "lfw": 7410, "utk": 23317, "poi": 2790}


def test_hidden_images_do_not_hide_the_archives_of_a_folder(faces, tmp_path):
    folder = pictures(tmp_path / "packed", ".thumbnails/x.png")
    pack(faces, folder / "faces.zip")
    assert len(LabelledFolder(folder).build()["train"]) == 6


def test_class_folders_may_be_links_beside_an_archive(faces, tmp_path):
    folder = pictures(tmp_path / "packed")
    folder.mkdir()
    for person in faces.iterdir():
        (folder / person.name).symlink_to(person)
    pack(faces / "p0", folder / "other.zip")
    assert len(LabelledFolder(folder).build()["train"]) == 6


def test_a_table_without_a_complete_row_is_refused(faces):
    text = "image,a,b\np0/0.png,1,\np0/1.png,,1\np1/2.png,2,\np1/3.png,,2\n"
    with pytest.raises(DataError, match=r"labels\.csv: no row is without an empty cell; name the label_columns"):
        opened(faces, text, missing="skip").build()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_after_setup_is_one_error_that_names_it(faces, workers):
    data = LabelledFolder(faces, image_size=8, num_workers=workers)
    data.setup("test")
    (faces / data.splits["test"].source.name(1)).unlink()
    with pytest.raises(DataError, match=r"labelled/test: read at set-up but not now: p\d/\d.png: No such file"):
        list(data.test_dataloader())
