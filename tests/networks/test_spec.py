import pytest
import torch

from pcfrl_lightning.networks.spec import build, describe


class Inner:
    def __init__(self, size: int = 3):
        self.size = size


class Outer:
    def __init__(self, inner: Inner, scales: tuple[float, ...] = (1.0, 2.0)):
        self.inner, self.scales = inner, scales


class Forgetful:
    def __init__(self, size: int):
        self.doubled = 2 * size


def test_nested_objects_survive_the_round_trip():
    spec = describe(Outer(Inner(7)))
    assert spec["init_args"]["scales"] == [1.0, 2.0]
    rebuilt = build(spec)
    assert isinstance(rebuilt, Outer)
    assert rebuilt.inner.size == 7
    assert describe(rebuilt) == spec


def test_description_loads_with_weights_only(tmp_path):
    torch.save({"hyper_parameters": describe(Outer(Inner(7)))}, tmp_path / "x.ckpt")
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]["init_args"]["scales"] == [1.0, 2.0]


def test_an_argument_that_was_not_kept_is_named():
    with pytest.raises(TypeError, match="Forgetful does not keep its argument 'size'"):
        describe(Forgetful(3))


@pytest.mark.parametrize("path", ["no.such.module.Class", "pcfrl_lightning.networks.NoSuchClass", "bare"])
def test_unknown_class_path_is_named(path):
    with pytest.raises(ValueError, match=f"cannot import class_path '{path}'"):
        build({"class_path": path})
