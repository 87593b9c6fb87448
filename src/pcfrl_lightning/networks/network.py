"""The whole PCFRL network: backbone, subnets, projectors and decoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pcfrl_lightning.errors import require
from pcfrl_lightning.functional.alignment import normalize
from pcfrl_lightning.networks.backbone import FaceBackbone, conv_block, init_convolutions
from pcfrl_lightning.networks.decoder import MAX_SIZE, Decoder
from pcfrl_lightning.networks.encoder import Encoder, evaluating
from pcfrl_lightning.networks.pictures import Pictures, squares


class Subnet(nn.Sequential):
    """Two 3x3 convolutions with LeakyReLU(0.1): the map F_s to F_f or F_p, (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv_block(channels, channels), conv_block(channels, channels))
        init_convolutions(self)


class Projector(nn.Sequential):
    """Linear, ReLU, Linear, BatchNorm1d: flat F_f or F_p to z_f or z_p, (B, in_features) -> (B, out_features)."""

    def __init__(self, in_features: int, out_features: int = 512) -> None:
        super().__init__(
            nn.Linear(in_features, in_features),
            nn.ReLU(inplace=True),
            nn.Linear(in_features, out_features),
            nn.BatchNorm1d(out_features),
        )


class Features(NamedTuple):
    """Flat features, each (B, C h w) in channel-first order; (B, 2048) for 64 px at width 1.0."""

    f_s: Tensor
    f_f: Tensor
    f_p: Tensor


class PCFRLNetwork(Encoder):
    """Backbone and everything PCFRL puts on top of it (method section 1).

    Args:
        backbone: maps (B, 3, H, W) images to a (B, C, h, w) map; subnets, projectors and decoder follow its shape,
            found with one forward pass on zeros. Default: the paper's at width 1.0.
        image_size: side of the images of pretraining, pixels; `encode` takes any size the backbone takes, projectors
            and decoder exist for this size only.
        projection_dim: length of z_f and z_p (paper: 512).

    Raises:
        ValueError: the backbone cannot take images of ``image_size``, or does not return a (B, C, h, w) map.
    """

    feature_names = Features._fields

    def __init__(self, backbone: nn.Module | None = None, image_size: int = 64, projection_dim: int = 512) -> None:
        super().__init__()
        require(projection_dim >= 1, f"projection_dim must be at least 1, got {projection_dim}")
        self.backbone = backbone or FaceBackbone()
        channels, height, width = map_shape(self.backbone, image_size)
        self.feature_dim = flat = channels * height * width
        self.image_size, self.projection_dim = image_size, projection_dim
        self.face_subnet = Subnet(channels)
        self.pose_subnet = Subnet(channels)
        self.face_projector = Projector(flat, projection_dim)
        self.pose_projector = Projector(flat, projection_dim)
        self.decoder = Decoder(flat, channels, image_size)

    def encode(self, images: Tensor) -> Features:
        """(B, 3, H, W) images in [0, 1] of any size the backbone takes to flat F_s, F_f, F_p."""
        shared = self.backbone(images)
        return Features(shared.flatten(1), self.face_subnet(shared).flatten(1), self.pose_subnet(shared).flatten(1))

    def project_face(self, f_f: Tensor) -> Tensor:
        """Flat F_f of ``image_size`` images to z_f, (B, projection_dim), not normalised."""
        return self.face_projector(f_f)

    def project_pose(self, f_p: Tensor) -> Tensor:
        """Flat F_p of ``image_size`` images to z_p, (B, projection_dim), not normalised."""
        return self.pose_projector(f_p)

    def reconstruct(self, f_f: Tensor, f_p: Tensor) -> Tensor:
        """D(F_f, F_p) of Eq. 1: flat features of ``image_size`` images to (B, 3, S, S) in [-1, 1]."""
        return self.decoder(normalize(f_f + f_p))

    @torch.no_grad()
    def swap_pose(self, faces: Pictures, poses: Pictures) -> Tensor:
        """The people of ``faces`` in the poses of ``poses``: D(F_f of the ones, F_p of the others).

        Args:
            faces: n pictures of any size, or a single one; see `pcfrl_lightning.networks.pictures`.
            poses: n others, or a single one.

        Returns:
            float32 (n, 3, S, S) in [0, 1], S = ``image_size``, on the device of the network.

        Raises:
            ValueError: the numbers of pictures differ, or something is no picture.
        """
        device = next(self.parameters()).device
        who, how = (squares(pictures, self.image_size).to(device) for pictures in (faces, poses))
        if len(who) != len(how) and 1 not in (len(who), len(how)):
            raise ValueError(f"swap_pose takes as many poses as faces, or one; got {len(how)} for {len(who)}")
        with evaluating(self):
            features = self.features(torch.cat([who, how]))
            f_f, f_p = features["f_f"][: len(who)], features["f_p"][len(who) :]
            number = max(len(f_f), len(f_p))
            images = self.reconstruct(f_f.expand(number, -1), f_p.expand(number, -1))
        return images.float().clamp(0, 1)

    def forward(self, images: Tensor) -> Features:
        return self.encode(images)


@torch.no_grad()
def map_shape(backbone: nn.Module, image_size: int) -> tuple[int, int, int]:
    """(C, h, w) of the backbone's map for one ``image_size`` image; leaves the backbone as it was.

    Found on the meta device where the backbone works there: a file that names a large size costs nothing. ValueError
    if the size is out of range, the forward pass fails, or the result is not a (1, C, h, w) tensor with h, w >= 1.
    """
    fits = 1 <= image_size <= MAX_SIZE
    require(fits, f"image_size must be at least 1 and at most {MAX_SIZE} pixels, got {image_size}")
    parameter = next(backbone.parameters(), torch.empty(0))
    shape, dtype = (1, 3, image_size, image_size), parameter.dtype
    weights = {key: value.to("meta") for key, value in (*backbone.named_parameters(), *backbone.named_buffers())}
    name = type(backbone).__name__
    try:
        with evaluating(backbone):
            try:
                result = functional_call(backbone, weights, (torch.empty(shape, dtype=dtype, device="meta"),))
            except Exception:  # one of the user, that asks tensors for values for instance
                result = backbone(torch.zeros(shape, dtype=dtype, device=parameter.device))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise ValueError(
            f"backbone {name} cannot take a batch of image_size={image_size} images: {error}. "
            "Raise image_size or choose another backbone"
        ) from error
    if not isinstance(result, Tensor) or result.ndim != 4:
        found = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise ValueError(
            f"backbone {name} must return one (B, C, h, w) tensor, got {found}; drop its pooling and classifier, "
            "or wrap a timm model in pcfrl_lightning.networks.TimmBackbone"
        )
    require(
        result.numel() > 0,
        f"image_size={image_size} is too small for backbone {name}: its map has shape {tuple(result.shape)}. "
        "Raise image_size",
    )
    return result.shape[1], result.shape[2], result.shape[3]
