import pytest
import torch
from torch import nn

from pcfrl_lightning import load_encoder
from pcfrl_lightning.heads import CalibratedContrast, CosineOnly, MirroredNegatives, NoCalibration, NPAThreshold
from pcfrl_lightning.methods import SimCLR
from pcfrl_lightning.networks import FaceBackbone, TorchvisionBackbone
from tiny import TinyFaces, trainer, unmoved


def small(**arguments) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(FaceBackbone(0.0625), image_size=32, projection_dim=16, **arguments)


def views(images: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(images, 3, 32, 32, generator=generator) for name in ("face_1", "face_2")}


def test_the_loss_is_the_cross_entropy_of_simclr():
    model, batch = small(temperature=0.5).eval(), views()
    z = nn.functional.normalize(torch.cat([model.network(batch["face_1"]), model.network(batch["face_2"])]))
    logits = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
    expected = nn.functional.cross_entropy(logits, torch.arange(10).roll(5))
    loss, stats = model.losses(batch)
    torch.testing.assert_close(loss, expected)
    assert stats["face/calibrated"] == 0


def test_a_calibrator_adds_positives():
    model, batch = small(calibrator=NPAThreshold(-99.0)).eval(), views()
    first, second = model.network(batch["face_1"]), model.network(batch["face_2"])
    head = CalibratedContrast(NPAThreshold(-99.0), CosineOnly(), 0.07, "all", calibrated_mean="anchors")
    expected = head(first, second)
    loss, stats = model.losses(batch)
    torch.testing.assert_close(loss, expected.loss + expected.calibrated_loss)
    assert stats["face/calibrated"] == 10


def test_a_run_and_its_checkpoint(tmp_path):
    """Every weight is trained; the path alone gives the encoder, and the method with its calibrator."""
    model = small(calibrator=NPAThreshold(0.5))
    before = {name: value.clone() for name, value in model.named_parameters()}
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, TinyFaces(batch_size=4))
    assert unmoved(model, before) == []
    assert "train/face/alignment_max_epoch" in run.callback_metrics
    run.save_checkpoint(tmp_path / "x.ckpt")
    images = torch.rand(2, 3, 32, 32)
    encoder = load_encoder(tmp_path / "x.ckpt")
    expected = model.eval().network.features(images)
    assert expected.keys() == {"f_s"}
    torch.testing.assert_close(encoder.features(images)["f_s"], expected["f_s"])
    loaded = SimCLR.load_from_checkpoint(tmp_path / "x.ckpt")
    assert loaded.contrast.calibrator.threshold == 0.5
    torch.testing.assert_close(loaded.eval().network(images), model.network(images))


def test_the_network_without_arguments_is_that_of_table_9():
    network = SimCLR(image_size=32).network
    assert [tuple(layer.weight.shape) for layer in network.projector if isinstance(layer, nn.Linear)] == [
        (512, 512),
        (128, 512),
    ]
    assert sum(parameter.numel() for parameter in network.backbone.parameters()) == 11_176_512  # ResNet-18 without fc
    assert network.features(torch.zeros(2, 3, 32, 32))["f_s"].shape == (2, 512)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="negatives cannot be MirroredNegatives"):
        small(negatives=MirroredNegatives())
    with pytest.raises(ValueError, match="projection_dim must be at least 1"):
        SimCLR(FaceBackbone(0.0625), image_size=32, projection_dim=0)
    with pytest.raises(ValueError, match="model_name='vit_b_16'"):
        TorchvisionBackbone("vit_b_16")
    assert isinstance(small().contrast.calibrator, NoCalibration)
