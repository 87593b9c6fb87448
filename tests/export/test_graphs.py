"""Graphs that need no code of this project give the features of PyTorch, for other batches and sizes as well."""

import sys

import numpy as np
import pytest
import torch

from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.export import export_graph
from pcfrl_lightning.export.graphs import GRAPHS
from pcfrl_lightning.networks import TimmEncoder
from pcfrl_lightning.networks.encoder import Encoder
from tiny import tiny_model

SHAPES = [(1, 64, 64), (4, 48, 48), (7, 100, 100), (2, 33, 90)]


@pytest.fixture(scope="module")
def network():
    return tiny_model().network.eval().requires_grad_(False)


def images(kind, batch, height, width):
    pixels = torch.randint(0, 256, (batch, 3, height, width), generator=torch.Generator().manual_seed(batch))
    return pixels.byte() if kind == "uint8" else pixels / 255


def loaded(path):
    if path.suffix == ".onnx":
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session, lambda x: session.run(None, {"images": x.numpy()})
    module = torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(path)
    return None, lambda x: [value.numpy() for value in module(x)]


@pytest.mark.parametrize(("kind", "pixels"), [("onnx", "float32"), ("torchscript", "uint8"), ("torch-export", "uint8")])
def test_pcfrl_with_any_number_and_size_of_images(network, tmp_path, kind, pixels):
    made = export_graph(network, ["f_p", "f_s"], kind, tmp_path, 64, pixels)
    assert made.path == tmp_path / GRAPHS[kind][0]
    assert made.any_size
    session, run = loaded(made.path)
    for shape in SHAPES:
        given = images(pixels, *shape)
        expected = network.features(given)
        for name, value in zip(("f_p", "f_s"), run(given), strict=True):
            np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-4, rtol=0)
    if session:
        assert [each.shape for each in session.get_inputs()] == [["batch", 3, "height", "width"]]
        assert [each.name for each in session.get_outputs()] == ["f_p", "f_s"]


def test_the_normalisation_of_a_library_is_inside_and_bytes_are_taken(tmp_path):
    torch.manual_seed(0)
    encoder = TimmEncoder("test_resnet").eval().requires_grad_(False)
    assert encoder.mean != [0, 0, 0]
    made = export_graph(encoder, ["f_s"], "onnx", tmp_path, 64, "uint8")
    assert made.any_size
    session, run = loaded(made.path)
    for shape in ((1, 64, 64), (3, 80, 96)):
        given = images("uint8", *shape)
        expected = encoder.features(given)["f_s"].numpy()
        np.testing.assert_allclose(run(given)[0], expected, atol=1e-4, rtol=1e-4)
    assert session.get_inputs()[0].type == "tensor(uint8)"


def test_parts_that_features_do_not_need_stay_behind(network, tmp_path):
    made = export_graph(network, ["f_s"], "torchscript", tmp_path, 32)
    parts = {name.split(".")[1] for name in torch.jit.load(made.path).state_dict()}
    assert parts == {"backbone", "face_subnet", "pose_subnet"}
    assert network.decoder is not None


class InOrder(Encoder):
    """Parts one after another; the first one does nothing where no pixel is black, as in the example."""

    image_size = 16

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Threshold(1e-6, 1.0), torch.nn.Flatten()

    def encode(self, images):
        for part in self.children():
            images = part(images)
        return (images,)


def test_a_part_that_does_nothing_to_the_example_is_kept(tmp_path):
    made = export_graph(InOrder(), ["f_s"], "torchscript", tmp_path, 16)
    assert torch.jit.load(made.path)(torch.zeros(1, 3, 16, 16))[0].tolist() == [[1.0] * 768]


class OneSize(Encoder):
    """A layer on the pixels: the number of weights follows the size."""

    image_size = 24

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 24 * 24, 5)

    def encode(self, images):
        return (self.layer(images.flatten(1)),)


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_a_network_that_takes_one_size_is_exported_for_it(tmp_path, kind):
    encoder = OneSize().requires_grad_(False)
    made = export_graph(encoder, ["f_s"], kind, tmp_path, 24)
    assert not made.any_size
    _, run = loaded(made.path)
    given = images("float32", 5, 24, 24)
    np.testing.assert_allclose(run(given)[0], encoder.features(given)["f_s"].numpy(), atol=1e-5)


class Drawing(Encoder):
    """Features that a graph cannot repeat."""

    image_size = 16

    def encode(self, images):
        return (images.flatten(1) * float(np.random.default_rng().random()),)


def test_a_graph_that_computes_something_else_is_not_left_there(tmp_path):
    with pytest.raises(DataError, match="Drawing cannot be exported as torchscript: the graph is off by"):
        export_graph(Drawing(), ["f_s"], "torchscript", tmp_path, 16)
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_the_extra_is_named(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install pcfrl-lightning\[export\]"):
        export_graph(network, ["f_s"], "onnx", tmp_path)
