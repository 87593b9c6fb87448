"""`pcfrl disentangle`: cases worked out by hand, and the command on a tiny checkpoint."""

import json

import pytest
import torch
from PIL import Image

from pcfrl_lightning import functional as F
from pcfrl_lightning.cli import disentangle
from pcfrl_lightning.data import ArraySource, FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.evaluate import disentangle as measures
from pcfrl_lightning.evaluate.calibrated_pairs import Branch, branch_counts, pair_quality
from pcfrl_lightning.evaluate.disentangle_table import pairs_table, tables
from pcfrl_lightning.evaluate.nearest import neighbours, random_pairs
from pcfrl_lightning.evaluate.pose_sets import PoseFaces, pointing04, rendered_faces
from pcfrl_lightning.heads import CalibratedContrast, Eq7, JoinedNegatives, NPAThreshold, TopK
from tiny import tiny_model

PEOPLE, EACH = 10, 20


@pytest.fixture(scope="module")
def known() -> PoseFaces:
    """Ten people in twenty poses each, all of whom are seen in the same poses, in steps of 12 degrees."""
    number = torch.arange(PEOPLE * EACH)
    step = number // PEOPLE
    pose = torch.stack([12.0 * (step % 5), 12.0 * (step // 5), torch.zeros(len(number))], dim=1)
    faces = FaceSet(ArraySource(torch.zeros(len(number), 8, 8, 3, dtype=torch.uint8).numpy()))
    return PoseFaces("made", faces, ("yaw", "pitch", "roll"), pose, number % PEOPLE, expression=step % 7)


def test_features_that_are_the_pose_have_no_error_and_no_identity(known):
    angles = known.pose[:, :2]  # the sines make the direction, which the cosine compares, another for every pose
    found = measures.measure(torch.cat([5 - 3 * angles, (angles / 20).sin(), (angles / 20).cos()], dim=1), known)
    assert found["pose"] == pytest.approx({"yaw": 0, "pitch": 0, "roll": 0, "mean": 0}, abs=1e-3)
    assert found["pose_nearest"] == 0
    assert found["pose_nearest_chance"] > 10
    # nine other people in the very pose: the nearest in the same pose cannot be of the person, as there is no other
    assert found["identity_same_pose"] is None
    assert found["verification"] < 0.55


def test_features_that_are_the_person_tell_nothing_of_the_pose(known):
    found = measures.measure(torch.nn.functional.one_hot(known.person).float(), known)
    away = (known.pose - known.pose.mean(0)).abs().mean(0)  # what the mean of all poses is off by
    assert found["pose"]["yaw"] == pytest.approx(away[0].item(), abs=0.5)
    assert found["pose"]["pitch"] == pytest.approx(away[1].item(), abs=0.5)
    assert found["identity_other_pose"] == 1
    assert found["identity_other_pose_chance"] == pytest.approx(0.1, abs=0.01)
    assert found["verification"] == 1
    # no pose and no expression in them: the regression answers with what is frequent
    assert found["expression"] == pytest.approx(found["expression_chance"], abs=0.1)


def test_neighbours_of_four_faces():
    """Two people in two poses; features are two numbers that put each face beside the other person in its pose."""
    pose = torch.tensor([[0.0], [40.0], [4.0], [44.0]])
    person = torch.tensor([0, 0, 1, 1])
    found = neighbours(torch.tensor([[1.0, 0.1], [-1.0, 0.1], [1.0, -0.1], [-1.0, -0.1]]), pose, person)
    assert found["identity_same_pose"] is None  # in the same pose there is only the other person
    assert found["pose_nearest"] == pytest.approx(4)
    assert found["pose_nearest_chance"] == pytest.approx((4 + 44 + 36 + 4 + 4 + 36 + 44 + 4) / 8)
    # in another pose, face 0 has faces 1 and 3, and 1 is nearer (the second number agrees)
    assert (found["identity_other_pose"], found["identity_other_pose_chance"]) == (1, 0.5)


def test_neighbours_are_of_another_occasion():
    pose, person = torch.zeros(4, 1), torch.tensor([0, 0, 0, 1])
    features = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.1], [0.3, 1.0]])
    assert neighbours(features, pose, person)["identity_same_pose"] == pytest.approx(2 / 3)
    found = neighbours(features, pose, person, occasion=torch.tensor([0, 0, 1, 2]))
    # faces 0 and 1 have 2 and 3 to choose from, and 3 is nearer; face 2 has all others, and 3 is nearest
    assert found["identity_same_pose"] == 0
    assert found["identity_same_pose_chance"] == pytest.approx((0.5 + 0.5 + 2 / 3) / 3)


def test_random_pairs_are_of_one_person_and_of_two():
    person, occasion = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 2, 2, 3])
    first, second, same = random_pairs(person)
    assert torch.equal(person[first] == person[second], same)
    assert not (first == second).any()
    assert same.sum() == 5  # the third person has one face
    assert (~same).sum() == 6
    first, second, same = random_pairs(person, occasion)
    assert first[same].tolist() == [0, 1, 2]
    assert not (occasion[first] == occasion[second]).any()


def test_long_features_are_shortened_and_keep_what_they_hold(known, monkeypatch):
    monkeypatch.setattr(measures, "MOST_VALUES", 16)
    features = known.pose[:, :2] @ torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    assert measures.shortened(features).shape == (200, 16)
    assert measures.pose_error(features, known)["mean"] < 0.01


def test_the_verdict_compares_f_p_with_f_f():
    one = {"pose": {"mean": 10.0}, "pose_nearest": 9.0, "identity_other_pose": 0.2}
    other = {"pose": {"mean": 12.0}, "pose_nearest": 9.5, "identity_other_pose": 0.3}
    found = measures.verdict({"f_f": other, "f_p": one})
    assert found == {
        "pose_gap": 2.0,
        "pose_nearest_gap": 0.5,
        "identity_gap": pytest.approx(0.1),
        "right_way_round": True,
    }
    assert measures.verdict({"f_f": one, "f_p": other})["right_way_round"] is False
    assert measures.verdict({"f_s": one}) is None


def test_precision_and_recall_of_a_batch():
    """Three images; the first two look alike, and so do their labels."""
    first = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-0.2, 1.0]])
    contrast = CalibratedContrast(NPAThreshold(threshold=0.9), Eq7())
    output = contrast(first, first)
    branch = Branch(output, F.normalize(torch.cat([first, first])))
    agreement = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    counts = branch_counts(branch, agreement, (0.0, 0.5))
    # 24 ordered pairs of views of different images, 8 of them right; the third image has no right partner
    assert counts[0].tolist() == [24, 8, 4]
    assert counts[1].tolist() == [6, int(output.calibration.accepted.sum()), 4]
    assert counts[2].tolist() == [6, 6, 4]  # top-1: the two views of the third image are wrong
    assert counts[3, 2] == 4


def test_pairs_of_a_model_with_mirrored_negatives(known):
    """They are no part of what is calibrated, and no mirrored views are made here."""
    contrast = CalibratedContrast(TopK(1), Eq7(), negatives=JoinedNegatives())
    found = pair_quality(tiny_model(pose_contrast=contrast), known, batches=1, batch_size=20)
    assert found["pose"]["own"]["share"] == 1
    assert found["pose"]["own"]["precision"] == pytest.approx(found["pose"]["quantiles"]["0"]["precision"])
    assert type(contrast.negatives) is JoinedNegatives


def test_tables_of_an_encoder_with_one_feature(known):
    """It has no F_f and F_p to compare, and no calibrated pairs."""
    measured = {"made": {"f_s": measures.measure(known.pose, known)}}
    result = {"name": "other", "epoch": None, "measures": measured, "untrained": measured, "pairs": None}
    (table,) = tables([result | {"verdict": {"made": measures.verdict(measured["made"])}}])
    assert table.caption is None
    assert list(table.columns[0].cells) == ["untrained", "other", "chance"]
    assert pairs_table([result]) == []


def write_pointing(folder, people, poses):
    for person in range(1, people + 1):
        for number, (tilt, pan) in enumerate(poses):
            for series in (1, 2):
                path = folder / f"Person{person:02d}" / f"person{person:02d}{series}{number:02d}{tilt:+d}{pan:+d}.jpg"
                path.parent.mkdir(exist_ok=True)
                Image.new("RGB", (16, 16), (9 * person, tilt + 90, pan + 90)).save(path)


def test_labels_of_pointing04_are_in_its_names(tmp_path):
    write_pointing(tmp_path, 5, [(-30, 45), (0, 0), (15, -90)])
    known = pointing04(tmp_path)
    row = [known.faces.source.name(index) for index in range(30)].index("Person03/person03202+15-90.jpg")
    assert known.pose[row].tolist() == [-90, 15]
    assert known.angles == ("pan", "tilt")
    assert (known.person[row], known.occasion[row], known.fold[row]) == (3, 32, 2)
    assert len(known.person.unique()) == 5
    (tmp_path / "few").mkdir()
    write_pointing(tmp_path / "few", 2, [(0, 0)])
    with pytest.raises(DataError, match="pictures of 2 people, at least 5 are needed"):
        pointing04(tmp_path / "few")


def test_rendered_faces_are_of_people_in_disjoint_folds(tmp_path, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path))
    known = rendered_faces(40, 32)
    assert len(known.faces) == len(known.pose) == 40
    for person in known.person.unique():
        assert len(known.fold[known.person == person].unique()) == 1
    assert sorted(known.fold.unique().tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="at least 20 rendered faces are needed, got 10"):
        rendered_faces(10, 32)


def test_the_command_writes_a_table_and_the_figures_behind_it(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    write_pointing(tmp_path, 6, [(0, 0), (0, 45)])
    out = tmp_path / "out"
    options = ["--images", "60", "--pointing04", str(tmp_path), "--image-size", "32", "--out", str(out)]
    assert disentangle.main([checkpoint, *options]) == 0
    content = json.loads((out / "disentangle.json").read_text())
    (encoder,) = content["encoders"]
    assert content["sets"] == {"synthetic": 60, "pointing04": 24}
    assert set(encoder["measures"]["synthetic"]) == {"f_s", "f_f", "f_p"}
    # the checkpoint is an untrained network of another seed
    assert encoder["measures"]["pointing04"] != encoder["untrained"]["pointing04"]
    assert encoder["measures"]["pointing04"]["f_s"]["expression"] is None
    assert set(encoder["pairs"]["pose"]["quantiles"]) == {"0", "0.5", "0.75", "0.9", "0.95", "0.99"}
    printed = capsys.readouterr().out
    for text in ("untrained", "f_p", "the right way round", "calibrated pairs", "disentangle.json"):
        assert text in printed
    assert "pointing04: pose error" in (out / "disentangle.txt").read_text()
    with pytest.raises(ValueError, match="--images 0 leaves no faces"):
        disentangle.main([checkpoint, "--images", "0"])


def test_an_image_that_cannot_be_read_is_named(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the results have a place of their own below it
    write_pointing(tmp_path, 6, [(0, 0), (0, 45)])
    (tmp_path / "Person02" / "person02100+0+0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"pointing04: image \d+ cannot be read: Person02/person02100\+0\+0.jpg: empty"):
        disentangle.main([checkpoint, "--images", "0", "--pointing04", str(tmp_path), "--image-size", "32"])


@pytest.mark.parametrize("wrong", [["nowhere.ckpt"], ["CHECKPOINT", "--pointing04", "nowhere"]])
def test_what_is_wrong_is_found_before_faces_are_rendered(checkpoint, monkeypatch, wrong):
    monkeypatch.setattr("pcfrl_lightning.evaluate.pose_sets.rendered_faces", lambda *_: pytest.fail("rendered"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        disentangle.main([checkpoint if word == "CHECKPOINT" else word for word in wrong])
    with pytest.raises(OSError, match=r"last\.ckpt"):
        disentangle.main([checkpoint, "--out", f"{checkpoint}/out"])
