import csv
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch.utils.data import DataLoader

from pcfrl_lightning.callbacks import LearningRates, OnlineMonitor, ReconstructionGrid, Throughput
from pcfrl_lightning.callbacks.online_monitor import _Images, extract, pose_errors
from pcfrl_lightning.callbacks.reconstruction_grid import reconstruction_columns
from pcfrl_lightning.callbacks.step_cost import StepCost
from pcfrl_lightning.figures.grid import labelled_grid
from pcfrl_lightning.networks.encoder import Encoder
from pcfrl_lightning.synthetic import SyntheticFaces
from tiny import TinyFaces, tiny_model, trainer


def test_the_pose_swap_uses_the_face_of_one_person_and_the_pose_of_another():
    network = tiny_model().network.eval()
    source, target = torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32)
    columns = reconstruction_columns(network, source, target)
    features = network.encode(source)
    for row, donor in enumerate((2, 0, 1)):
        assert torch.equal(columns["pose donor"][row], source[donor])
        expected = network.reconstruct(features.f_f[[row]], features.f_p[[donor]])
        torch.testing.assert_close(columns["pose swap"][[row]], expected, atol=1e-5, rtol=1e-5)


def test_drawing_leaves_the_network_in_training_mode_and_without_gradients():
    network = tiny_model().network.train()
    statistics = {name: value.clone() for name, value in network.decoder.state_dict().items()}
    columns = reconstruction_columns(network, torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
    assert network.training
    assert not any(column.requires_grad for column in columns.values())
    for name, value in network.decoder.state_dict().items():
        assert torch.equal(value, statistics[name]), name


def test_grid_cells_hold_the_images_of_their_column():
    red, blue = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    red[:, 0], blue[:, 2] = 1, 2  # values above 1 are clipped
    picture = labelled_grid({"red": red, "blue": blue}, pixels=10)
    assert picture.size == (20, 14 + 20)
    assert picture.getpixel((5, 14 + 15)) == (255, 0, 0)
    assert picture.getpixel((15, 14 + 5)) == (0, 0, 255)


def test_callbacks_in_a_run(tmp_path):
    callbacks = [OnlineMonitor(every_n_epochs=2, neighbors=3), ReconstructionGrid(2, images=3), Throughput()]
    run = trainer(tmp_path, max_epochs=3, callbacks=callbacks, logger=CSVLogger(tmp_path, "", ""))
    run.fit(tiny_model(), TinyFaces(batch_size=4))
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    # every second epoch, and the last
    assert pictures == ["reconstructions_epoch_0002.png", "reconstructions_epoch_0003.png"]
    assert Image.open(tmp_path / "pictures" / pictures[0]).size == (8 * 96, 14 + 3 * 96)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    judged = [row["epoch"] for row in rows if row.get("monitor/knn_accuracy")]
    assert judged == ["1", "2"]
    # train and val of the tiny set are the same images: one neighbour out of three is the image itself
    assert float(rows[-1]["monitor/linear_accuracy"]) > 0.9
    seen = [float(row["train/images_seen"]) for row in rows if row.get("train/images_seen")]
    assert seen == [16, 32, 48]
    speeds = [float(row["train/images_per_second_step"]) for row in rows if row.get("train/images_per_second_step")]
    assert len(speeds) == 3 * 4  # every step: the trainer logs each
    assert min(speeds) > 0


@pytest.mark.parametrize("most", [6, -1])
def test_the_last_epoch_is_judged_whatever_ends_the_run(tmp_path, most):
    class TimeIsOver(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = most < 0 and trainer.global_step == 6

    callbacks = [TimeIsOver(), OnlineMonitor(every_n_epochs=9, neighbors=3)]
    logger = CSVLogger(tmp_path, "", "")
    run = trainer(tmp_path, max_epochs=5, max_steps=most, callbacks=callbacks, logger=logger)
    run.fit(tiny_model(), TinyFaces(batch_size=4))
    judged = [row["epoch"] for row in csv.DictReader((tmp_path / "metrics.csv").open()) if row["monitor/knn_accuracy"]]
    assert (run.global_step, judged) == (6, ["1"])


def test_a_step_of_several_batches_has_one_speed(tmp_path):
    run = trainer(
        tmp_path, max_epochs=2, accumulate_grad_batches=2, callbacks=[Throughput()], logger=CSVLogger(tmp_path, "", "")
    )
    run.fit(tiny_model(), TinyFaces(batch_size=4))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in rows if row.get("train/images_per_second_step")] == ["0", "1", "2", "3"]


def test_rates_have_the_names_of_lightnings_monitor_for_several_optimizers_and_one_row_a_step(tmp_path):
    class Several(LightningModule):
        automatic_optimization = False

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def training_step(self, batch, batch_idx):
            for optimizer in self.optimizers():
                optimizer.step()

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=0.1 * number) for number in (1, 2, 3)]

    def names(callback, folder):
        logger = CSVLogger(folder, "", "")
        trainer(folder, max_epochs=1, logger=logger, callbacks=[callback]).fit(Several(), DataLoader(torch.rand(4, 2)))
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        return [{name: value for name, value in row.items() if name.startswith("lr-") and value} for row in rows]

    found = names(LearningRates(), tmp_path / "own")
    assert found == [{"lr-SGD": "0.1", "lr-SGD-1": "0.2", "lr-SGD-2": "0.30000000000000004"}] * 4
    run = trainer(
        tmp_path,
        accumulate_grad_batches=2,
        callbacks=[LearningRates()],
        logger=CSVLogger(tmp_path, "", ""),
        max_epochs=1,
    )
    run.fit(tiny_model(), TinyFaces(16, batch_size=4))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in rows if row.get("lr-Adam")] == ["0", "1"]


def test_the_cost_of_a_step_is_measured_in_a_run_that_was_resumed_inside_an_epoch():
    cost, layer, batch = StepCost(), torch.nn.Linear(2, 3), {"image": torch.rand(4, 2)}
    module = SimpleNamespace(device=torch.device("cpu"))
    for index in range(5, 10):
        cost.on_train_batch_start(None, module, batch, index)
        layer(batch["image"])
        cost.on_train_batch_end(None, module, None, batch, index)
    assert cost.flops == 2 * 2 * 3
    assert len(cost.seconds) == 2  # of the steps after the third


@pytest.mark.parametrize("frozen", [False, True])
def test_the_monitor_leaves_every_part_in_its_mode_and_its_statistics(frozen):
    """Training would go on with fixed batch statistics, or unfreeze a part that is kept in evaluation mode."""
    network = tiny_model().network.train()
    if frozen:
        network.backbone.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    assert any(modes.values())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    features = extract(network, images, batch_size=2)["f_s"]
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not features.requires_grad
    torch.testing.assert_close(features, network.eval().features(images)["f_s"], atol=1e-5, rtol=1e-4)


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    size = {"image_size": 32, "train_size": 40, "identities": 10, "val_size": 20, "val_identities": 5}
    return SyntheticFaces(**size, test_size=40, test_identities=20, pairs_per_fold=2, num_workers=0)


def test_pose_error_of_a_feature_that_is_the_pose(rendered):
    """One that is the pose has no error, one that is the person that of the mean pose."""
    train, val = (
        _Images(torch.zeros(len(faces), 3, 8, 8, dtype=torch.uint8), faces.labels["pose"])
        for faces in (rendered.splits["train"], rendered.splits["val"])
    )

    class Known(Encoder):
        feature_names = ("f_f", "f_p")

        def features(self, images):
            pose = (train if len(images) == 40 else val).label
            return {"f_f": torch.ones(len(images), 2), "f_p": 3 * pose - 1}

        def encode(self, images):
            raise NotImplementedError

    errors = {name: error.item() for name, error in pose_errors(Known(), train, val).items()}
    away = (val.label - train.label.mean(0)).abs().mean().item()
    assert errors["pose_error_f_f"] == pytest.approx(away, rel=1e-4)
    assert errors["pose_error_f_p"] < 0.05 * away  # the penalty of 0.03 pulls a little towards the mean
    assert errors["pose_gap"] == pytest.approx(errors["pose_error_f_f"] - errors["pose_error_f_p"])


def test_the_monitor_logs_the_pose_in_each_feature_and_a_resumed_run_the_same(tmp_path, rendered):
    names = [f"monitor/{name}" for name in ("pose_error_f_s", "pose_error_f_f", "pose_error_f_p", "pose_gap")]
    logged = []
    for ends in ((2,), (1, 2)):
        folder = tmp_path / str(len(ends))
        for end in ends:
            monitor = OnlineMonitor(every_n_epochs=1, neighbors=3, pose_data=rendered)
            saved = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
            run = trainer(
                folder,
                max_epochs=2,
                callbacks=[monitor, saved, Ending(end)],
                logger=CSVLogger(folder, "", str(end)),
                enable_checkpointing=True,
            )
            run.fit(tiny_model(), TinyFaces(batch_size=4), ckpt_path=folder / "last.ckpt" if end > ends[0] else None)
        rows = list(csv.DictReader((folder / str(end) / "metrics.csv").open()))
        logged.append([row[name] for row in rows if row.get(names[0]) for name in names][-len(names) :])
    assert logged[0] == logged[1]
    assert float(logged[0][3]) == pytest.approx(float(logged[0][1]) - float(logged[0][2]), abs=1e-3)


class Ending(Callback):
    """Stops a run after some epochs, as an interruption does; its schedule is that of the whole run."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_monitor_names_a_label_that_is_missing(tmp_path):
    run = trainer(tmp_path, max_epochs=1, callbacks=[OnlineMonitor(label="age")])
    with pytest.raises(ValueError, match=r"no label 'age'.*expression"):
        run.fit(tiny_model(), TinyFaces(batch_size=4))


@pytest.mark.parametrize("values", [torch.rand(16, 3), torch.rand(16), torch.arange(16) - 1])
def test_monitor_refuses_a_label_that_is_no_class_before_training_starts(tmp_path, values):
    class Faces(TinyFaces):
        def build(self):
            splits = super().build()
            for faces in splits.values():
                faces.labels["expression"] = values
            return splits

    run = trainer(tmp_path, max_epochs=1, callbacks=[OnlineMonitor()])
    with pytest.raises(ValueError, match="label 'expression' of train"):
        run.fit(tiny_model(), Faces(batch_size=4))
    assert run.global_step == 0


@pytest.mark.parametrize("bad", [{"every_n_epochs": 0}, {"max_images": 1}, {"neighbors": 0}])
def test_monitor_refuses_bad_values(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        OnlineMonitor(**bad)


def test_learning_rates_are_those_of_lightnings_monitor(tmp_path):
    """Same names, steps and values; of two groups and a rate that changes with the epoch."""

    def rates(callback, folder):
        model, logger = tiny_model(), CSVLogger(folder)

        def two_groups(parameters):
            first, *others = parameters
            return torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": others, "lr": 0.01}])

        model.optimizer = two_groups
        trainer(folder, max_epochs=2, logger=logger, callbacks=[callback], log_every_n_steps=2).fit(
            model, TinyFaces(16, batch_size=4)
        )
        with open(f"{logger.log_dir}/metrics.csv") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name.startswith("lr-")]
        return [(row["step"], *(f"{name} {row[name]}" for name in names)) for row in rows if row[names[0]]]

    found = rates(LearningRates(), tmp_path / "own")
    assert len(found) == 4
    assert found == rates(LearningRateMonitor("step"), tmp_path / "lightning")
