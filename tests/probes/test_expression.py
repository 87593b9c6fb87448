"""The expression probe from fit to results.json."""

import json
import os

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes import ExpressionProbe
from pcfrl_lightning.probes.features.loaders import FeatureBatch
from pcfrl_lightning.probes.results import blocks

CLASSES = ["angry", "happy", "sad"]


def coloured(labels, seed):
    """Noise images whose red, green or blue channel tells the class, most of the time."""
    images = np.random.default_rng(seed).integers(0, 60, (len(labels), 16, 16, 3), dtype=np.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, :, label] += 150
    return images


@pytest.fixture
def splits(faces):
    def make(sizes=(90, 30, 45)):
        result = {}
        for seed, (name, n) in enumerate(zip(("train", "val", "test"), sizes, strict=True)):
            labels = torch.arange(n) % 3
            images = coloured(labels, seed)
            result[name] = faces(
                f"tiny/{name}", {"expression": labels}, images=images, class_names={"expression": CLASSES}
            )
        return result

    return make


@pytest.fixture
def options(checkpoint, tmp_path):
    return {"checkpoint": checkpoint, "image_size": 16, "cache_dir": str(tmp_path / "features"), "batch_size": 32}


def test_fit_and_test_write_results(splits, options, tiny_data, trainer, tmp_path, checkpoint, capsys):
    probe, data, runner = ExpressionProbe(**options, lr=[1e-1, 1e-6]), tiny_data(splits()), trainer(12)
    runner.fit(probe, data)
    runner.test(probe, data)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["metrics"]["headline"] == "last"
    assert results["metrics"]["last"]["accuracy"] > 0.6
    assert results["lr"] == {"candidates": [1e-1, 1e-6], "last": [1e-1]}
    assert results["chosen_on"] == "val"
    assert 1 <= results["best_epoch"]["epochs"][0] <= 12
    assert results["epochs"] == 12
    assert results["protocol"] == "default"
    assert results["features"]["checkpoint"] == "tiny.ckpt"
    assert len(results["features"]["checkpoint_sha256"]) == 64
    assert results["splits"]["train"] == {"split": "tiny/train", "images": 90, "samples": 90}
    assert str(tmp_path) not in json.dumps(results)
    assert set(results["versions"]) == {"torch", "lightning", "pcfrl_lightning", "python"}
    assert np.array(results["metrics"]["last"]["confusion"]).sum() == 45
    printed = capsys.readouterr().out
    assert "last epoch (headline)" in printed
    assert "results.json" in printed


def test_metrics_equal_scikit_learn(options):
    torch.manual_seed(0)
    outputs, labels = torch.randn(200, 6), torch.randint(0, 5, (200,))
    outputs[:, 5] = -9  # a class that does not occur
    predicted = outputs.argmax(1)
    found = ExpressionProbe(**options).task.metrics(outputs, {"label": labels})
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["class_accuracy"][:5] == pytest.approx(recall_score(labels, predicted, average=None).tolist())
    assert found["confusion"] == confusion_matrix(labels, predicted, labels=range(6)).tolist()


def test_several_learning_rates_equal_separate_runs(splits, options, tiny_data, trainer):
    together = ExpressionProbe(**options, lr=[1e-2, 1e-3])
    trainer(3).fit(together, tiny_data(splits()))
    for i, rate in enumerate([1e-2, 1e-3]):
        alone = ExpressionProbe(**options, lr=rate)
        trainer(3).fit(alone, tiny_data(splits()))
        torch.testing.assert_close(
            together.heads.f_s.head.weights[i], alone.heads.f_s.head.weights[0], atol=1e-6, rtol=1e-4
        )


def test_training_equals_a_plain_loop(splits, options, tiny_data, trainer):
    probe, data = ExpressionProbe(**options, lr=1e-2), tiny_data(splits())
    runner = trainer(4)
    runner.fit(probe, data)
    table = probe.source.table(data.splits["train"]).load()
    labels = data.splits["train"].labels["expression"]
    linear = torch.nn.Linear(table.shape[1], 3)
    linear.weight.data = torch.randn(3, table.shape[1], generator=torch.Generator().manual_seed(0)) * 0.01
    linear.bias.data.zero_()
    optimizer = torch.optim.Adam(linear.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    for epoch in range(4):
        order = torch.randperm(90, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(32):
            loss = torch.nn.functional.cross_entropy(linear(table[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    torch.testing.assert_close(probe.heads.f_s.head.weights[0][0], linear.weight, atol=1e-5, rtol=1e-3)


def test_checkpoint_alone_restores_the_heads_and_test_agrees(splits, options, tiny_data, trainer, tmp_path):
    probe, runner = ExpressionProbe(**options, lr=[1e-2, 1e-4]), trainer(3)
    runner.fit(probe, tiny_data(splits()))
    runner.test(probe, tiny_data(splits()), verbose=False)
    expected = probe.results["metrics"]
    path = tmp_path / "probe.ckpt"
    runner.save_checkpoint(path)
    torch.load(path, weights_only=True)
    loaded = ExpressionProbe.load_from_checkpoint(path)
    for name, value in probe.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    fresh = ExpressionProbe(**options, lr=[1e-2, 1e-4])
    trainer(3).test(fresh, tiny_data(splits()), ckpt_path=path, verbose=False)
    assert fresh.results["metrics"] == expected
    assert fresh.results["epochs"] == 3
    assert fresh.results["fit_seconds"] == pytest.approx(probe.results["fit_seconds"], abs=0.1)


@pytest.mark.parametrize("input_norm", ["none", "standardize", "batchnorm"])
def test_a_head_of_any_kind_is_restored_without_data(splits, options, tiny_data, trainer, tmp_path, input_norm):
    probe, runner = ExpressionProbe(**options, feature=["f_s", "f_p"], input_norm=input_norm), trainer(1)
    runner.fit(probe, tiny_data(splits()))
    runner.save_checkpoint(tmp_path / "probe.ckpt")
    text = {"hyper_parameters": {}}  # not even the settings: the heads tell
    stored = torch.load(tmp_path / "probe.ckpt", weights_only=True) | text
    torch.save(stored, tmp_path / "bare.ckpt")
    loaded = ExpressionProbe.load_from_checkpoint(tmp_path / "bare.ckpt", baseline="pixels")
    for name, value in probe.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


HEADS = {
    "a learning rate that is not there": {"choice_scores": torch.zeros(1000, 1)},
    "more folds than heads": {"choice_scores": torch.zeros(1, 1000)},
    "nothing in the weights": {"head.weights.0": torch.zeros(10**5, 0, 10**5)},
    "another shape": {"head.weights.0": torch.zeros(5)},
    "expanded weights": {"head.weights.0": torch.zeros(()).expand(1, 10**5, 10**6)},
}


@pytest.mark.parametrize("harm", HEADS)
def test_heads_that_would_take_more_than_the_file_holds(splits, options, tiny_data, trainer, tmp_path, harm):
    probe, runner = ExpressionProbe(**options), trainer(1)
    runner.fit(probe, tiny_data(splits()))
    runner.save_checkpoint(tmp_path / "probe.ckpt")
    stored = torch.load(tmp_path / "probe.ckpt", weights_only=True)
    stored["state_dict"] |= {f"heads.f_s.{key}": value for key, value in HEADS[harm].items()}
    torch.save(stored, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=r"bad\.ckpt") as error:
        ExpressionProbe.load_from_checkpoint(tmp_path / "bad.ckpt")
    assert "\n" not in str(error.value)


def test_the_file_of_a_head_says_neither_what_is_called_nor_what_is_trusted(
    splits, options, tiny_data, trainer, tmp_path, monkeypatch
):
    (tmp_path / "harm.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    probe, runner = ExpressionProbe(**options), trainer(1)
    runner.fit(probe, tiny_data(splits()))
    runner.save_checkpoint(tmp_path / "probe.ckpt")
    stored = torch.load(tmp_path / "probe.ckpt", weights_only=True)
    stored["hyper_parameters"] |= {"_instantiator": "harm.make", "_class_path": "harm.Made", "trust": ["harm"]}
    torch.save(stored, tmp_path / "bad.ckpt")
    loaded = ExpressionProbe.load_from_checkpoint(tmp_path / "bad.ckpt")
    assert loaded.hparams["trust"] == ()
    assert loaded.source.trust == ()
    torch.save(stored | {"callbacks": Harm()}, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=r"bad\.ckpt"):
        ExpressionProbe.load_from_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "harmed").exists()
    with pytest.raises(UsageError, match="no settings of TinyData"):
        type(tiny_data(splits())).load_from_checkpoint(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("value", ["text", ["split"], 7])
def test_a_head_that_says_nonsense_about_its_training(splits, options, tiny_data, trainer, tmp_path, value):
    probe, runner = ExpressionProbe(**options), trainer(1)
    runner.fit(probe, tiny_data(splits()))
    runner.save_checkpoint(tmp_path / "probe.ckpt")
    stored = torch.load(tmp_path / "probe.ckpt", weights_only=True)
    torch.save(stored | {"trained_on": value}, tmp_path / "bad.ckpt")
    probe.comes_from = str(tmp_path / "bad.ckpt")
    with pytest.raises(UsageError, match="'trained_on' is not a dictionary"):
        trainer(1).test(probe, tiny_data(splits()), ckpt_path=tmp_path / "bad.ckpt", verbose=False)


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_resume_equals_an_uninterrupted_run(splits, options, tiny_data, trainer, tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint

    whole = ExpressionProbe(**options)
    keep = ModelCheckpoint(tmp_path / "keep", filename="{epoch}", save_top_k=-1)
    trainer(4, callbacks=[keep], enable_checkpointing=True).fit(whole, tiny_data(splits()))
    resumed = ExpressionProbe(**options)
    trainer(4).fit(resumed, tiny_data(splits()), ckpt_path=tmp_path / "keep" / "epoch=1.ckpt")
    assert torch.equal(resumed.heads.f_s.head.weights[0], whole.heads.f_s.head.weights[0])
    assert int(resumed.epochs_done) == 4
    assert torch.equal(resumed.heads.f_s.best_scores, whole.heads.f_s.best_scores)


def poisoned(splits):
    splits["test"].labels["expression"] = torch.full_like(splits["test"].labels["expression"], -5)
    return splits


def test_no_test_label_is_read_during_fit(splits, options, tiny_data, trainer):
    honest, other = ExpressionProbe(**options, lr=[1e-2, 1e-3]), ExpressionProbe(**options, lr=[1e-2, 1e-3])
    trainer(3).fit(honest, tiny_data(splits()))
    trainer(3).fit(other, tiny_data(poisoned(splits())))
    for name, value in honest.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.fixture
def run_without_val(splits, options, tiny_data, trainer):
    def run(change=lambda given: None, epochs=3, **settings):
        given = splits()
        del given["val"]
        change(given)
        probe, runner = ExpressionProbe(**options, **settings), trainer(epochs)
        runner.fit(probe, tiny_data(given))
        runner.test(probe, tiny_data(given), verbose=False)
        return probe

    return run


@pytest.mark.parametrize("input_norm", ["none", "standardize", "batchnorm"])
def test_without_val_split_a_part_of_training_chooses_and_the_head_loses_nothing(run_without_val, input_norm):
    chosen = run_without_val(lr=1e-1, val_fraction=0.2, input_norm=input_norm)
    alone = run_without_val(lr=1e-1, val_fraction=0.0, input_norm=input_norm)
    assert chosen.results["chosen_on"] == "held-out training data"
    assert chosen.results["splits"]["train"]["samples"] == 90
    assert chosen.results["splits"]["choice"]["samples"] == 18
    assert 1 <= chosen.results["best_epoch"]["epochs"][0] <= 3
    assert chosen.results["metrics"]["best"].keys() == chosen.results["metrics"]["last"].keys()
    assert alone.results["best_epoch"] is None
    assert alone.results["metrics"]["best"] is None
    # the reported head is the one that is trained on everything
    torch.testing.assert_close(chosen.heads.f_s.head.weights[0][0], alone.heads.f_s.head.weights[0][0])
    assert chosen.results["metrics"]["last"] == alone.results["metrics"]["last"]


def test_companions_choose_the_learning_rate_that_learns(run_without_val):
    probe = run_without_val(lr=[1e-6, 1e-1], val_fraction=0.2, input_norm="standardize", epochs=12)
    assert probe.results["lr"]["last"] == [1e-1]
    assert probe.results["metrics"]["last"]["accuracy"] > 0.6
    assert probe.results["metrics"]["best"]["accuracy"] > 0.6


def test_who_chooses_has_not_seen_the_samples_it_chooses_on(run_without_val):
    honest = run_without_val(lr=1e-2, val_fraction=0.2)
    held = honest.plan.choice.rows.flatten()

    def poison(given):
        given["train"].labels["expression"][held] = (given["train"].labels["expression"][held] + 1) % 3

    other = run_without_val(poison, lr=1e-2, val_fraction=0.2)
    head, companion = honest.heads.f_s.head.weights[0]
    assert torch.equal(other.heads.f_s.head.weights[0][1], companion)
    assert not torch.equal(other.heads.f_s.head.weights[0][0], head)


def test_the_score_is_that_of_the_companion_and_not_of_the_head(run_without_val):
    probe = run_without_val(lr=1e-1, val_fraction=0.2, input_norm="standardize", epochs=5)
    choice, heads = probe.plan.choice, probe.heads.f_s
    features = probe.source.table(choice.faces).gather(choice.rows.flatten())
    head, companion = heads.head(features)[0].argmax(-1).eq(choice.targets["label"]).float().mean(1)
    assert head > companion
    assert heads.choice_scores.item() == pytest.approx(companion.item())


@pytest.mark.parametrize("input_norm", ["none", "batchnorm"])
def test_loss_and_statistics_of_each_head_are_of_its_own_samples(run_without_val, input_norm):
    probe = run_without_val(val_fraction=0.2, input_norm=input_norm, epochs=1)
    train, head = probe.plan.train, probe.heads.f_s.head.train()
    features, labels = probe.source.table(train.faces).gather(train.rows.flatten()), train.targets["label"]
    loss = probe.training_step(FeatureBatch(features, train.targets, train.members), 0)
    expected = sum(
        torch.nn.functional.cross_entropy(head(features[mine])[0, k], labels[mine])
        for k, mine in enumerate(train.members)
    )
    torch.testing.assert_close(loss, expected)


def test_features_are_standardised_by_the_training_samples_of_each_head(run_without_val):
    probe = run_without_val(val_fraction=0.2, input_norm="standardize", epochs=1)
    train, head = probe.plan.train, probe.heads.f_s.head
    table = probe.source.table(train.faces)
    assert len(train.members) == 2
    for members, mean, variance in zip(train.members, head.mean, head.variance, strict=True):
        mine = table.gather(train.rows[members].flatten())
        torch.testing.assert_close(mean, mine.mean(0))
        torch.testing.assert_close(
            variance, torch.where(mine.var(0, correction=0) > 1e-5, mine.var(0, correction=0), 1)
        )


def test_the_best_head_is_not_the_companion(run_without_val):
    probe = run_without_val(lr=1e-1, epochs=1, val_fraction=0.2)
    assert probe.results["best_epoch"]["epochs"] == [1]
    assert torch.equal(probe.heads.f_s.best.weights[0][0], probe.heads.f_s.head.weights[0][0])
    assert not torch.equal(probe.heads.f_s.best.weights[0][0], probe.heads.f_s.head.weights[0][1])


def test_several_rates_need_something_to_choose_on(run_without_val):
    with pytest.raises(DataError, match=r"tiny/train: no samples to choose among several model\.lr"):
        run_without_val(lr=[1e-1, 1e-2], val_fraction=0.0)


def test_paper_protocol_labels_the_best_test_epoch(splits, options, tiny_data, trainer):
    probe, data, runner = ExpressionProbe(**options, protocol="paper"), tiny_data(splits()), trainer(5)
    runner.fit(probe, data)
    assert runner.train_dataloader.shuffle is False
    runner.test(probe, data, verbose=False)
    assert probe.results["protocol"] == "paper"
    assert probe.results["chosen_on"] == "test"
    assert probe.results["metrics"]["best"]["accuracy"] >= probe.results["metrics"]["last"]["accuracy"]
    assert probe.results["metrics"]["best"]["accuracy"] == pytest.approx(float(probe.heads.f_s.best_scores[0]))


def test_duplicates_of_train_are_reported(splits, options, tiny_data, trainer):
    data = tiny_data(splits())
    mask = torch.zeros(45, dtype=torch.bool)
    mask[:9] = True
    data.duplicates_of_train = lambda split: mask
    probe, runner = ExpressionProbe(**options), trainer(2)
    runner.fit(probe, data)
    runner.test(probe, data, verbose=False)
    last = probe.results["metrics"]["last"]
    right = torch.tensor(last["confusion"]).diag().sum()
    assert last["duplicates"] == 9
    assert 0 <= last["accuracy_without_duplicates"] <= 1
    assert last["accuracy"] == pytest.approx(float(right) / 45)


@pytest.mark.parametrize("baseline", ["random", "lbp", "hog", "pixels"])
def test_baselines_come_from_the_same_class(baseline, splits, tiny_data, trainer, tmp_path, checkpoint):
    source = {"checkpoint": checkpoint} if baseline == "random" else {}
    probe = ExpressionProbe(baseline=baseline, image_size=16, cache_dir=str(tmp_path / "features"), **source)
    data, runner = tiny_data(splits()), trainer(2)
    runner.fit(probe, data)
    runner.test(probe, data, verbose=False)
    assert probe.results["features"]["baseline"] == baseline
    assert probe.results["features"]["image_size"] == 16
    assert probe.results["input_norm"] == ("none" if baseline == "random" else "standardize")


def test_concat_is_three_features_wide(splits, options, tiny_data, trainer):
    probe = ExpressionProbe(**options, feature="concat")
    trainer(1).fit(probe, tiny_data(splits()))
    one = ExpressionProbe(**options, feature="f_p")
    trainer(1).fit(one, tiny_data(splits()))
    assert probe.heads.concat.head.weights[0].shape[-1] == 3 * one.heads.f_p.head.weights[0].shape[-1]


def test_streaming_gives_a_trained_head_too(splits, options, tiny_data, trainer):
    probe, data, runner = ExpressionProbe(**options, memory_gb=0.0, lr=1e-1), tiny_data(splits()), trainer(12)
    runner.fit(probe, data)
    assert runner.train_dataloader.loaded is None
    runner.test(probe, data, verbose=False)
    assert probe.results["metrics"]["last"]["accuracy"] > 0.6


def test_bad_labels_name_split_and_row(splits, options, tiny_data, trainer):
    given = splits()
    given["train"].labels["expression"][17] = 3
    with pytest.raises(DataError, match=r"tiny/train: 'expression' of row 17 \(17\) is 3, expected 0\.\.2 \(1 bad"):
        trainer(1).fit(ExpressionProbe(**options), tiny_data(given))


def test_untrained_head_is_not_tested(splits, options, tiny_data, trainer):
    with pytest.raises(ValueError, match="--ckpt_path"):
        trainer(1).test(ExpressionProbe(**options), tiny_data(splits()))


def test_untrained_head_is_not_validated(splits, options, tiny_data, trainer):
    with pytest.raises(ValueError, match=r"the head is not trained.*--ckpt_path"):
        trainer(1).validate(ExpressionProbe(**options), tiny_data(splits()), verbose=False)


def test_validation_of_a_trained_head_reads_no_training_features_and_changes_nothing(
    splits, options, tiny_data, trainer, tmp_path
):
    probe, runner = ExpressionProbe(**options, lr=[1e-1, 1e-3]), trainer(3)
    runner.fit(probe, tiny_data(splits()))
    accuracy = runner.callback_metrics["val/accuracy"]
    runner.save_checkpoint(tmp_path / "probe.ckpt")
    options = options | {"cache_dir": str(tmp_path / "other")}
    fresh, runner = ExpressionProbe(**options, lr=[1e-1, 1e-3]), trainer(1)
    (found,) = runner.validate(fresh, tiny_data(splits()), ckpt_path=tmp_path / "probe.ckpt", verbose=False)
    assert found["val/accuracy"] == pytest.approx(float(accuracy))
    assert [path.name.split("-")[1] for path in (tmp_path / "other").glob("*.npy")] == ["val"]
    for name, value in probe.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


def test_nothing_to_validate_on_is_said(splits, options, tiny_data, trainer):
    given = splits()
    del given["val"]
    with pytest.raises(ValueError, match="no samples to validate on"):
        trainer(1).validate(ExpressionProbe(**options, val_fraction=0), tiny_data(given), verbose=False)


def test_several_features_are_those_of_separate_runs(splits, options, tiny_data, trainer, tmp_path):
    """One run, one pass over the images, one block of results per feature."""
    names = ["f_p", "concat", "f_s"]
    data, runner = tiny_data(splits()), trainer(4)
    together = ExpressionProbe(**options, feature=names, lr=[1e-2, 1e-3])
    runner.fit(together, data)
    runner.test(together, data, verbose=False)
    found = blocks(json.loads((tmp_path / "results.json").read_text()))
    assert set(found) == set(names)
    assert together.results["features"]["feature"] == list(found)
    for name in names:
        alone, single = ExpressionProbe(**options, feature=name, lr=[1e-2, 1e-3]), trainer(4)
        single.fit(alone, tiny_data(splits()))
        single.test(alone, tiny_data(splits()), verbose=False)
        for mine, theirs in zip(together.heads[name].parameters(), alone.heads[name].parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
        assert blocks(alone.results)[name] == found[name]
        assert runner.callback_metrics[f"test/{name}/accuracy"] == pytest.approx(
            found[name]["metrics"]["last"]["accuracy"]
        )
    path = tmp_path / "several.ckpt"
    runner.save_checkpoint(path)
    loaded = ExpressionProbe.load_from_checkpoint(path)
    assert set(loaded.heads) == set(names)


def test_an_unknown_feature_names_those_of_the_encoder(splits, options, tiny_data, trainer):
    with pytest.raises(UsageError, match=r"model.feature f_x: this encoder has f_s, f_f, f_p, or concat for all"):
        trainer(1).fit(ExpressionProbe(**options, feature=["f_s", "f_x"]), tiny_data(splits()))


def test_results_say_precision_and_the_held_out_share(run_without_val):
    probe = run_without_val(val_fraction=0.3, precision="bf16")
    assert probe.results["val_fraction"] == 0.3
    assert probe.results["features"]["precision"] == "bf16"
    given = run_without_val(val_fraction=0.3, precision="float32")
    assert given.results["features"]["precision"] == "float32"
    assert run_without_val(val_fraction=0.0).results["val_fraction"] is None


@pytest.mark.parametrize("key", ["group", "subject", "identity", "photo", "person"])
def test_groups_are_held_out_as_a_whole(run_without_val, key):
    """Images of one photo on both sides would let the choice be made on what was trained on."""
    groups = torch.arange(90) // 6

    def give_groups(given):
        given["train"].labels[key] = groups

    plan = run_without_val(give_groups, val_fraction=0.2, epochs=1).plan
    chosen = set(groups[plan.choice.rows.flatten()].tolist())
    companion = set(groups[plan.train.rows[plan.train.members[1]].flatten()].tolist())
    assert chosen
    assert not chosen & companion


def test_missing_checkpoint_is_one_clear_line(splits, tiny_data, trainer):
    with pytest.raises(FileNotFoundError, match=r"checkpoint no\.ckpt does not exist"):
        trainer(1).fit(ExpressionProbe(checkpoint="no.ckpt"), tiny_data(splits()))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lr": -1.0}, "model.lr"),
        ({"lr": []}, "model.lr"),
        ({"lr": [1e-2, 1e-3], "protocol": "paper"}, "model.lr: protocol paper"),
        ({"protocol": "best"}, "model.protocol"),
        ({"batch_size": 0}, "model.batch_size"),
        ({"input_norm": "layer"}, "model.input_norm"),
        ({"val_fraction": 1.0}, "model.val_fraction"),
        ({"image_size": 0}, "model.image_size"),
        ({"cache_dtype": "int8"}, "model.cache_dtype"),
    ],
)
def test_wrong_settings_name_their_key(wrong, words):
    with pytest.raises(ValueError, match=words):
        ExpressionProbe(baseline="random", **wrong)
