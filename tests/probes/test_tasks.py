"""All tasks but expression, on features that hold the answer."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from pcfrl_lightning.data.faceset import Pairs
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes import (
    ActionUnitProbe,
    AttributeProbe,
    CosineVerification,
    HeadPoseProbe,
    ImageProbe,
    LandmarkProbe,
    PoseClassProbe,
    VerificationProbe,
)
from pcfrl_lightning.probes.features.store import EvaluationImages
from pcfrl_lightning.probes.plan import Part
from pcfrl_lightning.probes.tasks.classes import Classes
from pcfrl_lightning.probes.tasks.pairs import pooled
from pcfrl_lightning.probes.tasks.several import SeveralClasses, check_exclusive

N = 120


def patterned(values, seed=0):
    """16 x 16 images of 4 x 4 blocks; the values in [0, 1] fill the blocks in turn, with noise."""
    noise = np.random.default_rng(seed).integers(0, 12, (len(values), 16, 16), dtype=np.uint8)
    blocks = np.stack([np.resize(row, (4, 4)) for row in values])
    return noise + (np.kron(blocks, np.ones((4, 4))) * 200).astype(np.uint8)


@pytest.fixture
def run(tiny_data, trainer, tmp_path):
    def go(probe_class, splits, epochs=40, **options):
        settings = {"baseline": "pixels", "image_size": 16, "cache_dir": str(tmp_path / "features"), "lr": 1e-2}
        probe, data, runner = probe_class(**settings | options), tiny_data(splits), trainer(epochs)
        runner.fit(probe, data)
        runner.test(probe, data, verbose=False)
        return probe

    return go


def halves(faces, key, labels, values):
    images = patterned(values.numpy())
    return {
        name: faces(f"tiny/{name}", {key: labels[rows]}, images=images[rows.numpy()])
        for name, rows in (("train", torch.arange(0, N, 2)), ("test", torch.arange(1, N, 2)))
    }


def test_head_pose_recovers_angles(faces, run):
    values = torch.rand(N, 3, generator=torch.Generator().manual_seed(0))
    splits = halves(faces, "pose", values * 120 - 60, values)
    probe = run(HeadPoseProbe, splits, epochs=150, lr=1.0, batch_size=32)
    last = probe.results["metrics"]["last"]
    assert last["mae_mean"] < 6
    assert last["mae_mean"] == pytest.approx(np.mean([last[f"mae_{a}"] for a in ("yaw", "pitch", "roll")]))
    assert set(last) > {"mae_mean_yaw_0_30", "mae_mean_yaw_30_60", "mae_mean_yaw_60_180"}
    assert probe.results["weight_decay"] == 0.01


def test_the_learning_rate_of_the_lowest_error_is_chosen(faces, run):
    values = torch.rand(N, 3, generator=torch.Generator().manual_seed(0))
    splits = halves(faces, "pose", values * 120 - 60, values)
    probe = run(HeadPoseProbe, splits, epochs=20, lr=[1e-4, 1.0], val_fraction=0.2)
    assert probe.results["lr"]["last"] == [1.0]
    assert probe.results["best_epoch"]["lr"] == [1.0]
    assert probe.results["best_epoch"]["epochs"][0] > 5


def test_head_pose_metrics_by_hand():
    probe = HeadPoseProbe(baseline="random")
    outputs = torch.tensor([[10.0, 0.0, 0.0], [50.0, 5.0, -4.0]])
    found = probe.task.metrics(outputs, {"values": torch.tensor([[12.0, 1.0, 0.0], [40.0, 0.0, 0.0]])})
    assert (found["mae_yaw"], found["mae_pitch"], found["mae_roll"]) == (6.0, 3.0, 2.0)
    assert found["mae_mean"] == pytest.approx(11 / 3)
    assert found["mae_mean_yaw_0_30"] == pytest.approx(1.0)
    assert found["mae_mean_yaw_30_60"] == pytest.approx(19 / 3)


def test_nan_angle_names_split_and_row(faces, run):
    values = torch.rand(N, 3)
    values[6, 1] = torch.nan
    splits = halves(faces, "pose", values, torch.rand(N, 3))
    with pytest.raises(DataError, match=r"tiny/train: 'pose' of row 3 \(3\) is \[.*nan"):
        run(HeadPoseProbe, splits)


def test_attributes_and_multilabel_metrics(faces, run):
    labels = (torch.rand(N, 5, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    probe = run(AttributeProbe, halves(faces, "attributes", labels, labels))
    assert probe.results["metrics"]["last"]["accuracy"] > 0.95
    torch.manual_seed(0)
    outputs, truth = torch.randn(80, 5), torch.randint(0, 2, (80, 5))
    found = probe.task.metrics(outputs, {"labels": truth.float()})
    predicted = (outputs > 0).int()
    assert found["label_f1"] == pytest.approx(f1_score(truth, predicted, average=None).tolist())
    assert found["f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found["label_accuracy"] == pytest.approx([accuracy_score(truth[:, a], predicted[:, a]) for a in range(5)])


def test_rare_positives_weigh_more():
    """The loss of the rarer of the two answers is multiplied, by negatives over positives."""
    task = SeveralClasses("attributes", imbalance="pos_weight")
    labels = torch.zeros(8, 2)
    labels[0, 0], labels[:6, 1] = 1, 1  # one positive of eight, six of eight
    members = torch.ones(1, 8, dtype=torch.bool)
    task.prepare(Part(None, torch.arange(8)[:, None], {"labels": labels}, members))
    outputs = torch.zeros(1, 1, 8, 2)
    found = task.loss(outputs, {"labels": labels})[0, 0]
    weights = torch.where(labels > 0, torch.tensor([7.0, 2 / 6]), torch.ones(2))
    torch.testing.assert_close(found, (weights * 0.6931472).mean(1))
    members = torch.stack([members[0], torch.arange(8) < 4])  # a second head: one of four, four of four
    task.prepare(Part(None, torch.arange(8)[:, None], {"labels": labels}, members))
    both = task.loss(outputs.expand(1, 2, 8, 2), {"labels": labels})[0]
    torch.testing.assert_close(both[0], found)
    weights = torch.where(labels > 0, torch.tensor([3.0, 0.0]), torch.ones(2))
    torch.testing.assert_close(both[1], (weights * 0.6931472).mean(1))


def test_class_means_are_over_the_classes_that_occur():
    """Of four classes one is never met, and one is predicted and never true."""
    outputs = torch.eye(4)[[0, 0, 1, 2]]
    found = Classes("x").metrics(outputs, {"label": torch.tensor([0, 0, 1, 1])})
    assert found["accuracy"] == 0.75
    assert found["mean_class_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["majority_share"] == 0.5


def test_labels_other_than_zero_and_one_are_refused(faces, run):
    labels = torch.zeros(N, 5)
    labels[4, 2] = 2
    with pytest.raises(DataError, match=r"tiny/train: 'attributes' of row 2 .* only 0 and 1"):
        run(AttributeProbe, halves(faces, "attributes", labels, labels.clamp(max=1)))


@pytest.mark.parametrize(
    ("task", "shape", "words"),
    [
        (Classes("y"), (N, 3), r"tiny/train: 'y' is \(3,\) for each image, expected one number"),
        (SeveralClasses("y"), (N,), r"tiny/train: 'y' is \(\) for each image, expected several of 0 and 1"),
    ],
)
def test_one_class_and_several_are_not_mixed_up(faces, task, shape, words):
    with pytest.raises(DataError, match=words):
        task.targets(faces("tiny/train", {"y": torch.ones(shape)}))


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_action_units_without_training_and_test_images(faces, tiny_data, trainer, tmp_path, stage):
    probe = ActionUnitProbe(baseline="pixels", image_size=16, cache_dir=str(tmp_path))
    data = tiny_data({"val": faces("tiny/val", {"action_units": torch.ones(N, 4)})})
    with pytest.raises(DataError, match="action units needs a split 'train'; the data set has val"):
        getattr(trainer(1), stage)(probe, data)


def test_a_metric_is_refused_before_features_where_the_task_takes_none(faces, run, monkeypatch):
    monkeypatch.setattr("pcfrl_lightning.probes.features.source.FeatureSource.read", lambda *_: pytest.fail("read"))
    splits = {"train": faces("tiny/train", {"landmarks": torch.rand(N, 5, 2)})}
    with pytest.raises(UsageError, match=r"model.metric mean_absolute_error: landmarks takes no further metric"):
        run(LandmarkProbe, splits, metric="mean_absolute_error")


def test_landmarks_are_found(faces, run):
    points = torch.rand(N, 5, 2, generator=torch.Generator().manual_seed(0)) * 0.5
    points[:, 1, 0] += 0.5
    probe = run(LandmarkProbe, halves(faces, "landmarks", points, points.flatten(1)), epochs=200)
    assert probe.results["metrics"]["last"]["nme"] < 0.1


def test_landmark_error_by_subset(faces):
    points = torch.zeros(3, 5, 2)
    points[:, 1, 0] = 0.5  # the eyes are half a crop apart
    conditions = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    given = faces("tiny", {"landmarks": points, "conditions": conditions}, class_names={"conditions": ["a", "b", "c"]})
    probe = LandmarkProbe(baseline="pixels")
    targets = probe.task.targets(given)
    outputs = points.clone()
    outputs[1:, :, 1] += torch.tensor([0.1, 0.2])[:, None]  # errors 0, 0.2 and 0.4
    found = probe.task.metrics(outputs.flatten(1), targets)
    assert found["nme"] == pytest.approx(0.2)
    assert (found["nme_a"], found["nme_b"]) == (pytest.approx(0.2), pytest.approx(0.3))
    assert "nme_c" not in found
    assert found["failure_rate_10"] == pytest.approx(2 / 3)
    for move, rate in ((0.045, 0.0), (0.055, 1.0)):  # errors of 0.09 and 0.11
        moved = points + torch.tensor([0.0, move])
        assert probe.task.metrics(moved.flatten(1), targets)["failure_rate_10"] == rate


LABELLED = {
    "pose": (HeadPoseProbe, lambda n: torch.rand(n, 3) * 60, torch.nan),
    "landmarks": (LandmarkProbe, lambda n: torch.rand(n, 5, 2), torch.nan),
    "attributes": (AttributeProbe, lambda n: (torch.rand(n, 4) > 0.5).float(), 7.0),
    "pose_class": (PoseClassProbe, lambda n: torch.arange(n) % 3, -5),
    "class": (ImageProbe, lambda n: torch.arange(n) % 3, -5),
    "action_units": (ActionUnitProbe, lambda n: (torch.rand(n, 4) > 0.5).float(), 7.0),
}


@pytest.mark.parametrize("key", list(LABELLED))
def test_fit_reads_no_test_label(faces, tiny_data, trainer, tmp_path, key):
    """Test labels that any reading would refuse change nothing in fit, and are refused by test."""
    probe_class, make, forbidden = LABELLED[key]
    heads = []
    for poisoned in (False, True):
        torch.manual_seed(0)
        splits = {name: faces(f"tiny/{name}", {key: make(N)}) for name in ("train", "val", "test")}
        if poisoned:
            splits["test"].labels[key] = torch.full_like(splits["test"].labels[key], forbidden)
        probe = probe_class(baseline="pixels", image_size=16, cache_dir=str(tmp_path), lr=[1e-2, 1e-3])
        trainer(2).fit(probe, tiny_data(splits))
        heads.append(probe)
    for mine, theirs in zip(heads[0].state_dict().values(), heads[1].state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(DataError, match=f"tiny/test: '{key}'"):
        trainer(1).test(heads[1], tiny_data(splits))


def test_action_units_of_a_fold_never_see_its_labels(faces, run):
    """Other labels in fold 2 change the head of fold 0, which trains on them, and not the head of fold 2."""
    poisoned = subjects(faces)
    mine = poisoned["test"].labels["fold"] == 2
    poisoned["test"].labels["action_units"] = poisoned["test"].labels["action_units"].clone()
    poisoned["test"].labels["action_units"][mine] = 1 - poisoned["test"].labels["action_units"][mine]
    honest, other = (run(ActionUnitProbe, splits, epochs=3) for splits in (subjects(faces), poisoned))
    weights, others = honest.heads.pixels.head.weights[0], other.heads.pixels.head.weights[0]
    assert torch.equal(weights[2], others[2])
    assert not torch.equal(weights[0], others[0])


def test_evaluation_images_are_the_same_every_time(faces):
    given = faces("tiny", {"class": torch.zeros(5)})
    first, second = ([EvaluationImages(given, 11, True)[i] for i in range(5)] for _ in range(2))
    torch.manual_seed(99)
    third = [EvaluationImages(given, 11, True)[i] for i in range(5)]
    for a, b, c in zip(first, second, third, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_unknown_landmark_layout_asks_for_the_eyes(faces, run):
    points = torch.rand(N, 6, 2)
    with pytest.raises(DataError, match=r"set model\.eyes"):
        run(LandmarkProbe, halves(faces, "landmarks", points, points.flatten(1)))


@pytest.mark.parametrize(("probe_class", "key"), [(PoseClassProbe, "pose_class"), (ImageProbe, "class")])
def test_classes(faces, run, probe_class, key):
    labels = torch.arange(N) // 2 % 4
    splits = halves(faces, key, labels, torch.nn.functional.one_hot(labels).float())
    assert run(probe_class, splits).results["metrics"]["last"]["accuracy"] > 0.95


def people(faces, seed=0):
    """Twelve people, ten images each; pairs in four folds of three people."""
    identity = torch.arange(N) // 10
    looks = torch.rand(12, 10, generator=torch.Generator().manual_seed(seed))[identity]
    rows = []
    generator = torch.Generator().manual_seed(1)
    for fold in range(4):
        mine = torch.arange(fold * 30, fold * 30 + 30)
        for _ in range(60):
            a, b = mine[torch.randint(30, (2,), generator=generator)].tolist()
            if a != b:
                rows.append((a, b, int(identity[a] == identity[b]), fold))
    first, second, same, fold = torch.tensor(rows).T
    pairs = Pairs(first, second, same.bool(), fold)
    images = patterned(looks.numpy(), seed=2)
    return {"test": faces("tiny/test", {"identity": identity}, images=images, pairs=pairs)}


@pytest.mark.parametrize("norm", ["standardize", "batchnorm"])
def test_verification_on_folds(faces, run, norm):
    probe = run(VerificationProbe, people(faces), epochs=15, embedding_dim=16, input_norm=norm)
    last = probe.results["metrics"]["last"]
    assert len(last["accuracy_folds"]) == len(last["thresholds"]) == 4
    assert last["accuracy"] == pytest.approx(np.mean(last["accuracy_folds"]))
    assert last["accuracy"] > 0.8
    assert last["auc"] > 0.9
    assert probe.results["folds"] == 4
    assert probe.results["protocol"] == "default"
    assert probe.results["chosen_on"] == "next fold"
    assert probe.results["metrics"]["best"]["accuracy"] > 0.8


def test_cosine_protocol_needs_no_training(faces, tiny_data, trainer, tmp_path):
    probe = CosineVerification(baseline="pixels", image_size=16, cache_dir=str(tmp_path))
    runner, data = trainer(1), tiny_data(people(faces))
    runner.test(probe, data, verbose=False)
    assert probe.results["protocol"] == "training-free"
    assert probe.results["metrics"]["last"]["accuracy"] > 0.8
    pairs, images = data.splits["test"].pairs, data.splits["test"].source.array.reshape(N, -1) / 255.0
    a, b = images[pairs.first], images[pairs.second]
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    from sklearn.metrics import roc_auc_score

    assert probe.results["metrics"]["last"]["auc"] == pytest.approx(roc_auc_score(pairs.same, cosines), abs=1e-3)
    with pytest.raises(UsageError, match="nothing to train"):
        trainer(1).fit(probe, tiny_data(people(faces)))


@pytest.mark.parametrize("norm", ["standardize", "batchnorm"])
@pytest.mark.parametrize("rates", [1e-2, [1e-2, 1e-4]])
def test_head_of_a_fold_never_sees_its_pairs(faces, run, rates, norm):
    honest = run(VerificationProbe, people(faces), epochs=3, lr=rates, embedding_dim=8, input_norm=norm)
    poisoned = people(faces)
    pairs = poisoned["test"].pairs
    flip = (pairs.fold == 2) & (torch.arange(len(pairs.fold)) % 5 == 0)
    poisoned["test"].pairs = pairs._replace(same=pairs.same ^ flip)
    other = run(VerificationProbe, poisoned, epochs=3, lr=rates, embedding_dim=8, input_norm=norm)
    for mine, theirs in zip(honest.heads.pixels.head.weights, other.heads.pixels.head.weights, strict=True):
        assert torch.equal(mine[2], theirs[2])
        assert not torch.equal(mine[0], theirs[0])
    assert torch.equal(honest.heads.pixels.head.mean[2], other.heads.pixels.head.mean[2])
    assert torch.equal(honest.heads.pixels.choice_scores[:, 2], other.heads.pixels.choice_scores[:, 2])


def test_a_pair_is_scored_by_the_head_of_its_fold():
    cosines = torch.arange(15.0).view(3, 5)
    assert pooled(cosines, torch.tensor([4, 2, 9, 4, 2])).tolist() == [5, 1, 12, 8, 4]
    assert torch.equal(pooled(cosines[0], torch.tensor([0, 1, 0, 1, 0])), cosines[0])


def test_verification_loss_equals_cosine_embedding_loss():
    probe = VerificationProbe(baseline="random", margin=0.2)
    torch.manual_seed(0)
    outputs, same = torch.randn(1, 1, 12, 5), torch.rand(6) > 0.5
    found = probe.task.loss(outputs, {"same": same})[0, 0]
    sign = same.float() * 2 - 1
    expected = torch.nn.functional.cosine_embedding_loss(
        outputs[0, 0, 0::2], outputs[0, 0, 1::2], sign, margin=0.2, reduction="none"
    )
    torch.testing.assert_close(found, expected)


def test_people_in_two_folds_are_reported(faces, run):
    splits = people(faces)
    splits["test"].labels["identity"] = torch.arange(N) % 7
    with pytest.warns(UserWarning, match="7 people occur in more than one fold"):
        run(VerificationProbe, splits, epochs=1, embedding_dim=4)


def subjects(faces):
    """Nine subjects in three folds, two action units each readable from the image."""
    subject = torch.arange(N) % 9
    labels = (torch.rand(N, 3, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    images = patterned(labels.numpy())
    given = {"action_units": labels, "subject": subject, "fold": subject % 3}
    return {"test": faces("tiny/all", given, images=images)}


@pytest.mark.parametrize("imbalance", ["none", "pos_weight"])
def test_action_units_on_three_folds(faces, run, imbalance):
    probe = run(ActionUnitProbe, subjects(faces), imbalance=imbalance)
    last = probe.results["metrics"]["last"]
    assert last["f1"] > 0.9
    assert len(last["f1_folds"]) == 3
    assert last["f1"] == pytest.approx(np.mean(last["f1_folds"]))
    assert last["f1"] == pytest.approx(np.mean(last["label_f1"]), abs=1e-6)
    assert probe.results["threshold"] == 0.5
    assert sum(probe.results["splits"]["test"]["samples_per_fold"]) == N


def test_a_data_set_with_a_training_split_is_evaluated_on_it(faces, run):
    everything = subjects(faces)["test"]
    splits = {"train": everything.subset(range(60)), "test": everything.subset(range(60, N))}
    probe = run(ActionUnitProbe, splits, epochs=5)
    assert probe.results["folds"] == 1
    assert probe.results["splits"]["test"]["samples"] == 60


@pytest.mark.parametrize("lr", [1e-2, [1e-2, 1e-5]])
def test_training_subjects_choose(faces, run, lr):
    probe = run(ActionUnitProbe, subjects(faces), lr=lr, epochs=10, val_fraction=0.3)
    assert probe.results["metrics"]["best"]["f1"] > 0.9
    assert len(probe.results["best_epoch"]["epochs"]) == 3
    assert probe.results["chosen_on"] == "held-out training subjects"
    assert probe.results["val_fraction"] == 0.3
    plan = probe.plan
    subject, every = torch.arange(N) % 9, []
    for part in (plan.train, plan.choice, plan.test):
        every.append([set(subject[part.rows[mine].flatten()].tolist()) for mine in part.members])
    heads, companions = every[0][:3], every[0][3:]
    for head, companion, choice, test in zip(heads, companions, *every[1:], strict=True):
        assert head | test == set(range(9))
        assert not head & test
        assert companion | choice == head
        assert not companion & choice
        assert choice


def test_paper_protocol_of_action_units_uses_its_threshold(faces, run):
    probe = run(ActionUnitProbe, subjects(faces), epochs=3, protocol="paper")
    assert probe.results["threshold"] == 0.0005
    assert probe.results["chosen_on"] == "test"


def test_subject_in_two_folds_is_refused():
    fold, subject = torch.tensor([0, 0, 1, 1, -1]), torch.tensor([3, 4, 5, 4, 3])
    with pytest.raises(DataError, match="disfa: subject 4 occurs in more than one fold"):
        check_exclusive("disfa", fold, subject)
    check_exclusive("disfa", fold[:3], subject[:3])
    with pytest.raises(DataError, match="at least two folds"):
        check_exclusive("disfa", fold[:2], subject[:2])
