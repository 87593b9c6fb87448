"""Every comparator takes an encoder of timm or torchvision, and every contrastive one a calibrator."""

import pytest
import torch
import yaml

from pcfrl_lightning import load_encoder
from pcfrl_lightning.cli.training import run
from pcfrl_lightning.heads import LossWeight, TopK
from pcfrl_lightning.methods import NNCLR, SNCLR, MoCo, SimCLR, SimSiam, SwAV
from pcfrl_lightning.networks import TimmBackbone, TorchvisionBackbone
from tiny import TinyFaces, trainer

SIZES = {
    SimCLR: {"projection_dim": 16},
    MoCo: {"queue_size": 24, "projection_dim": 16},
    NNCLR: {"queue_size": 24, "projection_dim": 16, "hidden_dim": 32, "prediction_dim": 32},
    SNCLR: {"queue_size": 24, "projection_dim": 16, "hidden_dim": 32, "neighbours": 3},
    SimSiam: {"projection_dim": 32, "prediction_dim": 8},
    SwAV: {"prototypes": 12, "projection_dim": 16, "hidden_dim": 32},
}
CONTRASTIVE = (SimCLR, MoCo, NNCLR, SNCLR)
ENCODERS = {
    "timm": lambda: pytest.importorskip("timm") and TimmBackbone("test_vit"),
    "torchvision": lambda: TorchvisionBackbone("squeezenet1_1"),
}


@pytest.mark.parametrize("library", ENCODERS)
@pytest.mark.parametrize("cls", SIZES, ids=lambda cls: cls.__name__)
def test_a_step_with_another_encoder_and_its_checkpoint(cls, library, tmp_path):
    torch.manual_seed(0)
    calibrated = {"calibrator": TopK(), "pair_term": LossWeight()} if cls in CONTRASTIVE else {}
    model = cls(backbone=ENCODERS[library](), image_size=32, **SIZES[cls], **calibrated)
    before = {name: value.clone() for name, value in model.network.backbone.named_parameters()}
    fitted = trainer(tmp_path, max_epochs=1)
    fitted.fit(model, TinyFaces(8, batch_size=4))
    still = [n for n, value in model.network.backbone.named_parameters() if torch.equal(value, before[n])]
    assert len(still) < 0.2 * len(before)  # layers behind the map, such as the last norm of a transformer
    if cls in CONTRASTIVE:
        assert fitted.callback_metrics["train/face/calibrated_epoch"] > 0
    fitted.save_checkpoint(tmp_path / "x.ckpt")
    images = torch.rand(2, 3, 32, 32)
    found = load_encoder(tmp_path / "x.ckpt").features(images)["f_s"]
    torch.testing.assert_close(found, model.eval().network.features(images)["f_s"])


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("simclr", "TimmBackbone"),
        ("moco", "TorchvisionBackbone"),
        ("nnclr", "TimmBackbone"),
        ("snclr", "TorchvisionBackbone"),
        ("swav", "TimmBackbone"),
        ("simsiam", "TorchvisionBackbone"),
    ],
)
def test_the_command_line_names_the_encoder(method, backbone, capsys, monkeypatch):
    monkeypatch.chdir(__file__.rpartition("/tests/")[0])
    options = [f"--model.backbone=pcfrl_lightning.networks.{backbone}", "--model.backbone.model_name=resnet34"]
    if method in ("simclr", "moco", "nnclr", "snclr"):
        options += ["--model.calibrator=NPAThreshold", "--model.calibrator.threshold=0.5"]
    configs = ["--config", "configs/pretrain.yaml", "--config", f"configs/method/{method}.yaml"]
    with pytest.raises(SystemExit) as end:
        run(["fit", *configs, *options, "--print_config"])
    assert end.value.code == 0
    arguments = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert arguments["backbone"]["class_path"].endswith(backbone)
    assert arguments["backbone"]["init_args"]["model_name"] == "resnet34"
    assert method in ("swav", "simsiam") or arguments["calibrator"]["init_args"]["threshold"] == 0.5
