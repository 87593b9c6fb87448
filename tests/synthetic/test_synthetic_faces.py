"""The data module: splits, labels, pairs and the cache."""

import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import pcfrl_lightning.data
import pcfrl_lightning.synthetic
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.synthetic import sample_face
from pcfrl_lightning.synthetic.module import FOLDS, SyntheticFaces, verification_pairs
from pcfrl_lightning.synthetic.render import render
from pcfrl_lightning.synthetic.source import SyntheticSource

SMALL = {
    "image_size": 32,
    "batch_size": 16,
    "num_workers": 0,
    "train_size": 40,
    "val_size": 20,
    "test_size": 120,
    "identities": 8,
    "val_identities": 5,
    "test_identities": 30,
    "pairs_per_fold": 10,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data():
    return SyntheticFaces(**SMALL)


def test_the_data_module_is_exported_by_both_packages():
    assert pcfrl_lightning.data.SyntheticFaces is pcfrl_lightning.synthetic.SyntheticFaces is SyntheticFaces
    with pytest.raises(AttributeError, match="no attribute 'SyntheticFace'"):
        _ = pcfrl_lightning.synthetic.SyntheticFace


def test_splits_and_labels(data):
    assert {split: len(faces) for split, faces in data.splits.items()} == {"train": 40, "val": 20, "test": 120}
    for faces in data.splits.values():
        n, labels = len(faces), faces.labels
        assert labels["pose"].shape == (n, 3)
        assert (labels["pose"].abs() <= torch.tensor([60.0, 30.0, 20.0])).all()
        assert labels["au_intensity"].shape == (n, 8)
        assert ((labels["au_intensity"] >= 2).float() == labels["action_units"]).all()
        assert labels["expression"].dtype == labels["identity"].dtype == labels["fold"].dtype == torch.long
        assert (labels["identity"] == labels["subject"]).all()
        assert len(faces.class_names["expression"]) == 7


def test_no_person_is_in_two_splits(data):
    people = [set(faces.labels["identity"].tolist()) for faces in data.splits.values()]
    assert [len(group) for group in people] == [8, 5, 30]
    assert len(set.union(*people)) == 43
    looks = [{face.identity for face in faces.source.faces} for faces in data.splits.values()]
    assert len(set.union(*looks)) == 43


def test_the_test_split_does_not_depend_on_the_size_of_the_training_split(data):
    larger = SyntheticFaces(**{**SMALL, "train_size": 80, "identities": 16})
    assert larger.splits["test"].source.fingerprint() == data.splits["test"].source.fingerprint()


def test_seed_changes_the_order_only_population_changes_the_people(data):
    fingerprint = data.splits["train"].fingerprint()
    assert SyntheticFaces(**SMALL, seed=7).splits["train"].fingerprint() == fingerprint
    assert SyntheticFaces(**SMALL, population=1).splits["train"].fingerprint() != fingerprint


def test_pairs_are_balanced_and_folds_share_no_person(data):
    faces = data.splits["test"]
    pairs, person = faces.pairs, faces.labels["identity"]
    assert len(pairs.first) == FOLDS * 10
    assert ((person[pairs.first] == person[pairs.second]) == pairs.same).all()
    assert (pairs.first != pairs.second).all()
    seen = []
    for fold in range(FOLDS):
        mine = pairs.fold == fold
        assert int(mine.sum()) == 10
        assert int(pairs.same[mine].sum()) == 5
        seen.append(set(person[pairs.first[mine]].tolist()) | set(person[pairs.second[mine]].tolist()))
    assert sum(len(group) for group in seen) == len(set.union(*seen))
    unordered = {tuple(sorted(pair)) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}
    assert len(unordered) == len(pairs.first)
    assert data.splits["train"].pairs is None


def test_too_few_pictures_for_the_pairs():
    with pytest.raises(UsageError, match=r"pairs_per_fold=100 .*fold 0 has 3 pairs of one person and 12 of two"):
        verification_pairs(torch.arange(60) % 30, 100, seed=0)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"image_size": 16}, "rendered at 32 to 256"),
        ({"render_size": 300}, "rendered at 32 to 256"),
        ({"pairs_per_fold": 7}, "pairs_per_fold"),
        ({"identities": 0}, "train split"),
        ({"test_size": 10}, "test split"),
        ({"test_size": 35}, "pairs_per_fold=10 is more than the test images allow"),
        ({"pose_range": (100.0, 0.0, 0.0)}, "pose_range"),
        ({"population": -1}, "population"),
    ],
)
def test_wrong_arguments_are_refused_at_once(argument, message):
    with pytest.raises(ValueError, match=message):
        SyntheticFaces(**{**SMALL, **argument})


def test_images_are_rendered_once_and_equal_to_those_rendered_on_demand(data, cache):
    data.prepare_data()
    files = sorted((cache / "synthetic").iterdir())
    assert len(files) == 3
    assert all(file.suffix == ".npy" for file in files)
    before = [file.stat().st_mtime_ns for file in files]
    again = SyntheticFaces(**SMALL)
    again.prepare_data()
    assert [file.stat().st_mtime_ns for file in files] == before
    source = again.splits["val"].source
    on_demand = SyntheticSource(source.faces, 32)
    for index in (0, 7, 19):
        assert (source.read(index) == on_demand.read(index)).all()
        assert (source.read(index) == render(source.faces[index], 32)).all()


def test_loader_batches(data):
    batch = next(iter(data.image_loader("test")))
    assert batch["image"].shape == (16, 3, 32, 32)
    assert batch["image"].dtype == torch.uint8
    assert batch["index"].tolist() == list(range(16))
    expected = data.splits["test"].image(3).transpose(2, 0, 1)
    assert (batch["image"][3].numpy() == expected).all()


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "file"))
    source = SyntheticSource([sample_face(0, 0, 0)], 32)
    source.materialize()
    assert "cannot keep rendered faces" in caplog.text
    assert source.read(0).shape == (32, 32, 3)


def test_several_processes_render_the_same_pictures(cache):
    faces = [sample_face(0, index, index % 3) for index in range(80)]
    source = SyntheticSource(faces, 32)
    source.materialize(processes=2)
    assert (source.read(77) == render(faces[77], 32)).all()
    assert [file.suffix for file in (cache / "synthetic").iterdir()] == [".npy"]


def test_a_script_without_a_guard_of_its_main_part_renders_in_several_processes(tmp_path):
    script = tmp_path / "script.py"
    lines = [
        "print('begins')",
        "from pcfrl_lightning.synthetic import sample_face",
        "from pcfrl_lightning.synthetic.source import SyntheticSource",
        "SyntheticSource([sample_face(0, index, 0) for index in range(80)], 32).materialize(processes=2)",
    ]
    script.write_text("\n".join(lines))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=True)
    assert run.stdout.split() == ["begins"]
    assert len(list((tmp_path / "cache/synthetic").iterdir())) == 1


def _read(source, index):
    return source.read(index)


def test_a_source_travels_to_another_process(cache):
    source = SyntheticSource([sample_face(0, index, 0) for index in range(3)], 32)
    source.materialize()
    assert (pickle.loads(pickle.dumps(source)).read(1) == source.read(1)).all()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.apply(_read, (source, 2)) == source.read(2)).all()


def test_names_are_unique_and_out_of_range_is_an_error(data):
    source = data.splits["train"].source
    assert len({source.name(index) for index in range(len(source))}) == len(source)
    with pytest.raises(IndexError):
        source.read(len(source))


def test_fingerprint_depends_on_size_and_parameters():
    faces = [sample_face(0, index, 0) for index in range(3)]
    prints = {
        SyntheticSource(faces, 32).fingerprint(),
        SyntheticSource(faces, 48).fingerprint(),
        SyntheticSource(faces[::-1], 32).fingerprint(),
    }
    assert len(prints) == 3
    assert SyntheticSource(list(faces), 32).fingerprint() in prints


def test_expression_frequencies_are_even():
    labels = np.array([sample_face(0, index, 0).expression for index in range(1400)])
    assert (np.bincount(labels, minlength=7) > 150).all()


def test_every_process_looks_up_what_the_first_has_rendered(data):
    data.prepare_data()
    other = SyntheticFaces(**SMALL)
    other.setup("fit")  # `prepare_data` runs in one process of each machine
    assert other.splits["train"].source._rendered is not None
