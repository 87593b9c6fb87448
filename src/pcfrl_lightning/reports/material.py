"""What figures need beside numbers: the method with its weights, faces to show it, and one batch of training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.errors import DataError, one_line
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.methods.simclr import SimCLR
from pcfrl_lightning.networks.encoder import Encoder, load_encoder
from pcfrl_lightning.reports.demo import still
from pcfrl_lightning.reports.runs import Run, class_paths, within
from pcfrl_lightning.synthetic.module import SyntheticFaces
from pcfrl_lightning.synthetic.render import SIZES
from pcfrl_lightning.synthetic.source import SyntheticSource

METHODS: dict[str, type[PCFRL] | type[SimCLR]] = {"PCFRLNetwork": PCFRL, "SimCLRNetwork": SimCLR}
"""Methods whose branches are known, by the class of their network."""

BATCH, FACES_DPI = 256, 110
_PACKAGE = "pcfrl_lightning."
_SETTLED = 50  # steps after which 0.9^steps, the weight of the first values, is below 1 %
_RENDERED_AT_ONCE = 5000


class Faces(NamedTuple):
    """Where pictures come from.

    ``train`` and ``test`` may be one set; ``views`` keep the pose of an image; ``about`` says it in words.
    """

    train: FaceSet
    test: FaceSet
    views: AlbumentationsViews
    batch_size: int
    about: str

    @property
    def labelled(self) -> bool:
        """Whether any of expression, identity and pose is known."""
        return not self.test.labels.keys().isdisjoint(("expression", "identity", "pose"))


@dataclass
class Material:
    """A run with what its figures need."""

    run: Run
    encoder: Encoder
    method: PCFRL | SimCLR | None  # None: a method whose branches are not known
    faces: Faces
    labelled: Faces  # the same, or rendered faces where `faces` has no labels
    notes: list[str] = field(default_factory=list)

    @property
    def unsettled(self) -> str:
        """A sentence for a run of so few steps that its pictures are not what training has seen; else empty."""
        norms = [module for module in self.encoder.modules() if isinstance(module, _BatchNorm)]
        steps = [int(norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None]
        if not steps or not 0 < steps[0] < _SETTLED:
            return ""
        return (
            f"After {steps[0]} steps the running statistics of batch normalisation are still on their way from their "
            "first values, so pictures and PA of this run are not those of training, which takes those of the batch."
        )


def material(run: Run, given: FaceData | None) -> Material:
    """Load the checkpoint of a run and open faces for it.

    Args:
        run: with a checkpoint.
        given: faces that the user named; default: those of the run's own config where they can be opened, else
            `SyntheticFaces`.
    """
    assert run.checkpoint is not None
    encoder = load_encoder(run.checkpoint).eval()
    kind = METHODS.get(type(encoder).__name__)
    method = kind.load_from_checkpoint(run.checkpoint).eval() if kind else None
    notes: list[str] = []
    size = encoder.image_size
    faces = (opened(given, size) if given is not None else own_faces(run, size, notes)) or rendered(size)
    return Material(run, encoder, method, faces, faces if faces.labelled else rendered(size), notes)


def own_faces(run: Run, size: int, notes: list[str]) -> Faces | None:
    """The faces that the run's config names, if their class is one of this package and the files are there."""
    spec = run.config.get("data")
    if not isinstance(spec, Mapping) or not all(path.startswith(_PACKAGE) for _, path in class_paths(spec)):
        return None
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FaceData, "data")
    try:
        return opened(parser.instantiate_classes(parser.parse_object({"data": spec})).data, size)
    except Exception as error:  # files that have moved, options of another version: the report goes on without
        root = within(spec, "init_args", "root") or ""
        reason = f"{type(error).__name__}: {one_line(error)}"
        notes.append(
            f"{run.label}: its own images {Path(str(root)).name} could not be opened ({reason}); others are named by "
            "--data and --data-root"
        )
        return None


def rendered(size: int) -> Faces:
    """Rendered faces with all labels: 256 of 64 people, and 600 of 20 others."""
    least, most = SIZES
    data = SyntheticFaces(
        image_size=size,
        render_size=min(max(size, least), most),
        train_size=BATCH,
        identities=64,
        val_size=2,
        val_identities=1,
        test_size=600,
        test_identities=20,
    )
    return opened(data, size)


def opened(data: FaceData, size: int) -> Faces:
    """The faces of a data module; DataError where it has none."""
    built = {name: faces for name, faces in data.build().items() if len(faces) >= 2}
    if not built:
        raise DataError(f"{data.name} has no split with at least two images")
    train = built.get("train") or next(iter(built.values()))
    test = built.get("test") or built.get("val") or train
    for faces in (train, test):
        if isinstance(faces.source, SyntheticSource) and len(faces) <= _RENDERED_AT_ONCE:
            faces.source.materialize(1)  # kept in the cache: the next report finds them
    own = data.views
    views = own if isinstance(own, AlbumentationsViews) and own.image_size == size else AlbumentationsViews(size)
    about = f"{test.name}, {len(test):,} images"
    return Faces(train, test, still(views), min(data.batch_size, BATCH, len(train)), about)


def plain_images(faces: FaceSet, rows: Tensor, size: int) -> Tensor:
    """Images (n, 3, size, size) in [0, 1] of some rows: resized on their shorter side, the centre square."""
    stacked = torch.stack([torch.from_numpy(fit_square(faces.image(row), size).copy()) for row in rows.tolist()])
    return stacked.permute(0, 3, 1, 2).float() / 255
