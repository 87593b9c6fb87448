"""``torch.compile`` in training: where it is the default, what it leaves as it was, and what happens where it fails.

Dynamo traces every part; code generation, which needs a C++ compiler, is left out.
"""

import copy
from functools import partial, partialmethod
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from ddp import run_on_ranks
from pcfrl_lightning.compilation import compile_training
from pcfrl_lightning.data import FramePairs
from pcfrl_lightning.methods import FaceCycle, MoCo
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm
from tiny import TinyFaces, tiny_model, trainer

COMPILE = torch.nn.Module.compile
pytestmark = pytest.mark.filterwarnings("error:torch.compile")


def pairs_of_frames(**options):
    data = TinyFaces(**options)
    data.views = FramePairs(32)
    return data


def small(cls, **arguments):
    return cls(backbone=FaceBackbone(0.0625), image_size=32, compile_network=True, **arguments)


METHODS = {  # the others call their network as MoCo does
    "PCFRL": partial(tiny_model, compile_network=True, input_noise=0.1),
    "MoCo": partial(small, MoCo, queue_size=8),
    "FaceCycle": partial(small, FaceCycle, code_dim=8, generator_width=8),
}


@pytest.fixture
def compile_by(monkeypatch):
    """Choose how the compiler works; returns the names of the parts that are compiled from then on."""

    def choose(**options):
        parts = []

        def traced(module, **given):
            assert given == {"dynamic": False}  # programs for sizes that may change are slower
            parts.append(type(module).__name__)
            COMPILE(module, **given, **options)

        torch.compiler.reset()
        monkeypatch.setattr(torch.nn.Module, "compile", traced)
        return parts

    return choose


class Counted:
    """A backend that counts the programs, which run as they are."""

    def __init__(self):
        self.programs = 0

    def __call__(self, program, inputs):
        self.programs += 1
        return program.forward


def broken(program, inputs):
    raise RuntimeError("no such target\nand a long trace")


def fit(folder, model, batches=2):
    L.seed_everything(0)
    data = pairs_of_frames if isinstance(model, FaceCycle) else TinyFaces
    trainer(folder, max_epochs=1).fit(model, data(images=8 * batches, batch_size=8))


def equal(first, second):
    first, second = (model.state_dict() for model in (first, second))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_a_compiled_network_trains_as_the_plain_one(tmp_path, compile_by):
    parts = compile_by(backend="aot_eager")
    models = [tiny_model(compile_network=value) for value in (False, True)]
    for model in models:
        fit(tmp_path, model)
    assert parts == ["FaceBackbone", "Subnet", "Subnet", "Decoder"]
    equal(*models)


@pytest.mark.parametrize("name", METHODS)
def test_every_part_compiles_whole_and_in_the_first_step_alone(tmp_path, compile_by, name):
    """No break in a graph, and no compilation for a later step."""
    programs = []
    for batches in (1, 2):
        counted = Counted()
        parts = compile_by(backend=counted, fullgraph=True)
        fit(tmp_path, METHODS[name](), batches=batches)
        assert len(parts) == (2 if name == "MoCo" else 4)
        programs.append(counted.programs)
    assert programs[0] == programs[1] > 0


def test_evaluation_of_any_size_is_not_compiled(tmp_path, compile_by):
    counted = Counted()
    compile_by(backend=counted)
    model = tiny_model(compile_network=True)
    fit(tmp_path, model)
    before = counted.programs
    model.eval()
    with torch.no_grad():
        for images, size in ((1, 32), (3, 40), (5, 64)):
            model.network.features(torch.rand(images, 3, size, size))
    assert counted.programs == before


def test_a_compiler_that_fails_is_one_warning_and_the_run_goes_on(tmp_path, compile_by):
    plain, model = tiny_model(compile_network=False), tiny_model(compile_network=True)
    fit(tmp_path, plain)
    parts = compile_by(backend=broken)
    with pytest.warns(UserWarning, match=r"torch\.compile") as caught:
        fit(tmp_path, model)
    told = [str(each.message) for each in caught if "torch.compile" in str(each.message)]
    assert [text.split()[2] for text in told] == parts
    assert all("no such target" in text and "compile_network false" in text and "\n" not in text for text in told)
    equal(plain, model)


def test_an_error_of_the_network_is_its_own(tmp_path, compile_by):
    class Strict(FaceBackbone):
        def forward(self, images):
            if len(images):
                raise ValueError("the network's own words")
            return super().forward(images)

    compile_by(backend="aot_eager")
    model = tiny_model(compile_network=True)
    model.network.backbone.__class__ = Strict
    with pytest.raises(ValueError, match=r"^the network's own words$"):
        fit(tmp_path, model)


@pytest.mark.parametrize(
    ("asked", "device", "compiled"), [(None, "cuda", 4), (None, "cpu", 0), (True, "cpu", 4), (False, "cuda", 0)]
)
def test_the_default_is_to_compile_on_a_gpu(compile_by, asked, device, compiled):
    parts = compile_by(backend="eager")
    model = tiny_model() if asked is None else tiny_model(compile_network=asked)
    strategy = SimpleNamespace(root_device=torch.device(device))
    model._trainer = SimpleNamespace(world_size=1, strategy=strategy)
    model.setup("fit")
    assert len(parts) == compiled
    model.setup("test")
    assert len(parts) == compiled


def test_a_trained_model_is_copied_and_exported_as_any_other(tmp_path, compile_by):
    counted = Counted()
    compile_by(backend=counted)
    model = tiny_model(compile_network=True)
    fit(tmp_path, model)
    before, twin = counted.programs, copy.deepcopy(model.network)
    images = torch.rand(2, 3, 32, 32)
    program = torch.export.export(model.network.backbone.eval(), (images,))
    torch.testing.assert_close(program.module()(images), twin.backbone.eval()(images))
    twin.backbone.train()(images)
    assert counted.programs == before


def backbone_on_a_rank(rank, ranks, compiled):
    torch.manual_seed(0)
    backbone = sync_batch_norm(FaceBackbone(0.0625), "cpu")
    if compiled:
        torch.nn.Module.compile = partialmethod(COMPILE, backend="eager")
        compile_training(backbone)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(rank))
    features = backbone(images)
    features.square().sum().backward()
    return features.detach(), {name: value.grad for name, value in backbone.named_parameters()}


def test_ranks_share_batch_statistics_in_a_compiled_network():
    for plain, compiled in zip(*(run_on_ranks(backbone_on_a_rank, value) for value in (False, True)), strict=True):
        torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-4)
