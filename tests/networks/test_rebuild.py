import pytest
import torch

from pcfrl_lightning import heads
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.networks.rebuild import build, describe


class Forgetful:
    def __init__(self, size: int):
        self.doubled = 2 * size


def test_nested_objects_survive_the_round_trip():
    head = heads.CalibratedContrast(heads.AdaptiveThreshold("quantile", 0.5), heads.LossWeight(0.3), temperature=0.2)
    spec = describe(head)
    rebuilt = build(spec)
    assert isinstance(rebuilt, heads.CalibratedContrast)
    assert rebuilt.pair_term.beta == 0.3
    assert describe(rebuilt) == spec


def test_description_loads_with_weights_only(tmp_path):
    spec = describe(PCFRLNetwork(FaceBackbone(0.0625), 32, 8))
    torch.save({"hyper_parameters": spec}, tmp_path / "x.ckpt")
    loaded = torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]
    assert describe(build(loaded)) == spec


def test_an_argument_that_was_not_kept_is_named():
    with pytest.raises(TypeError, match="Forgetful does not keep its argument 'size'"):
        describe(Forgetful(3))


def test_classes_are_found_wherever_they_were_when_the_file_was_written():
    spec = {"class_path": "pcfrl_lightning.nn.backbone.FaceBackbone", "init_args": {"width": 0.125}}
    assert isinstance(build(spec), FaceBackbone)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"class_path": "pcfrl_lightning.networks.NoSuchClass"}, "'pcfrl_lightning.networks.NoSuchClass' is not an nn"),
        ({"class_path": "bare"}, "'bare' is not an nn.Module"),
        ({"class_path": 7}, "class_path must be the name of a class, got int"),
        ({"class_path": "FaceBackbone", "width": 1}, "FaceBackbone has unknown keys: width"),
        (
            {"class_path": "FaceBackbone", "init_args": [1]},
            "FaceBackbone must be named settings, got list",
        ),
        ({"class_path": "FaceBackbone", "init_args": {"depth": 1}}, "FaceBackbone cannot be made: .*'depth'"),
        ({"class_path": "FaceBackbone", "init_args": {"width": "wide"}}, "FaceBackbone cannot be made"),
        ({"class_path": "FaceBackbone", "init_args": {"width": torch.zeros(1)}}, "not Tensor"),
    ],
)
def test_what_is_wrong_with_a_description_is_said_in_a_line(spec, message):
    with pytest.raises(ValueError, match=message) as error:
        build(spec)
    assert "\n" not in str(error.value)
