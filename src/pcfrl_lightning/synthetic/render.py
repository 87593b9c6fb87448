"""From parameters to pixels: pose, light, z-buffer, background, sensor."""

import cv2
import numpy as np
import numpy.typing as npt

from pcfrl_lightning.errors import require
from pcfrl_lightning.synthetic import canvas, geometry
from pcfrl_lightning.synthetic.canvas import Array
from pcfrl_lightning.synthetic.layout import Layout
from pcfrl_lightning.synthetic.mesh import Mesh, join, rotation_matrix
from pcfrl_lightning.synthetic.parameters import FaceParameters, Scene
from pcfrl_lightning.synthetic.raster import rasterise
from pcfrl_lightning.synthetic.texture import draw_texture

SIZES = (32, 256)
"""Smallest and largest side of a picture in pixels."""

_SUPERSAMPLING = 2
_TEXTURE_RESOLUTION = 0.52  # texture pixels per head unit and image pixel: somewhat finer than the head appears
_HEAD_SCALE = 0.415  # side of the image per head unit (half a head's height)
_CAMERA_DISTANCE = 7.0  # head units
_PIVOT = np.array([0.0, -0.1, -0.12])


def render(parameters: FaceParameters, size: int = 64) -> npt.NDArray[np.uint8]:
    """One face as (size, size, 3) RGB; the same parameters and size, 32 to 256, always give the same picture."""
    least, most = SIZES
    require(least <= size <= most, f"size must be between {least} and {most} pixels, not {size}")
    scene = parameters.scene
    fine = size * _SUPERSAMPLING
    resolution = 2.0 * round(0.5 * _TEXTURE_RESOLUTION * fine)
    layout = Layout(parameters)
    mesh = _posed_mesh(parameters, layout)
    texture = draw_texture(parameters, layout, resolution)
    points, depth = _project(mesh.points, scene, fine)
    fragments = rasterise(points, depth, mesh.triangles, mesh.two_sided, fine)

    # a row per attribute: numpy is slow along a short last axis
    texels = canvas.to_pixels(mesh.coordinates, resolution).astype(np.float32)
    attributes = np.concatenate([texels.T, _radiance(mesh, scene).T])
    values, second, third = (attributes.take(corner.take(fragments.triangle), axis=1) for corner in mesh.triangles.T)
    second -= values
    third -= values
    values += second * fragments.weight_1
    values += third * fragments.weight_2

    rng = np.random.default_rng(scene.seed)
    image = _background(scene, fine, rng).reshape(-1, 3)
    image[fragments.pixel] = (_sample(texture, values[:2]).T * values[2:5] + values[5:] * np.float32(255)).T
    coarse = cv2.resize(image.reshape(fine, fine, 3), (size, size), interpolation=cv2.INTER_AREA)
    image = coarse.astype(np.float32, copy=False) * np.float32(scene.exposure)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(scene.noise)
    return (np.clip(image, 0, 255) + np.float32(0.5)).astype(np.uint8)


def _posed_mesh(parameters: FaceParameters, layout: Layout) -> Mesh:
    """Head and everything attached to it in camera coordinates, the pivot of the neck at the origin."""
    identity = parameters.identity
    attached = [geometry.head_mesh(identity, layout), *geometry.ear_meshes(identity)]
    if identity.hair_style.startswith("long"):
        attached.append(geometry.long_hair_mesh(identity))
    if identity.glasses:
        attached.extend(geometry.glasses_meshes(layout))
    turn = rotation_matrix(*parameters.pose).astype(np.float32)
    body = rotation_matrix(0.3 * parameters.yaw, 0.0, 0.15 * parameters.roll).astype(np.float32)
    neck = geometry.neck_mesh(identity)
    # the neck follows the head at its upper end and the body at its lower end
    share = np.clip((neck.points[:, 1:2] + 1.5) / 0.8, 0, 1).astype(np.float32)
    turned = _turn(neck, body)
    bent = share * _turn(neck, turn).points + (1 - share) * turned.points
    return join([_turn(join(attached), turn), turned._replace(points=bent), _turn(geometry.torso_mesh(), body)])


def _turn(mesh: Mesh, rotation: Array) -> Mesh:
    points = _product(mesh.points - _PIVOT.astype(np.float32), rotation.T)
    return mesh._replace(points=points, normals=_product(mesh.normals, rotation.T))


def _product(vectors: Array, matrix: Array) -> Array:
    """``vectors @ matrix`` without the threads of a BLAS library, which cost more than they save at this size."""
    return np.einsum("vi,ij->vj", vectors, matrix)


def _project(points: Array, scene: Scene, size: int) -> tuple[Array, Array]:
    """Image positions (x right, y down) and nearness under a mild perspective."""
    scale = np.float32(_HEAD_SCALE * scene.zoom * size)
    factor = scale * np.float32(_CAMERA_DISTANCE) / (np.float32(_CAMERA_DISTANCE) - points[:, 2])
    x = np.float32(size * (0.5 + scene.shift[0])) + factor * points[:, 0]
    y = np.float32(size * (0.5 - scene.shift[1])) - factor * points[:, 1]
    return np.stack([x, y], axis=1), points[:, 2]


def _radiance(mesh: Mesh, scene: Scene) -> Array:
    """Light on each vertex: RGB factor of the albedo and RGB highlight, (V, 6)."""
    light = np.asarray(scene.light, np.float32)
    facing = np.where(mesh.normals[:, 2:] < -0.2, -mesh.normals, mesh.normals)
    diffuse = np.clip(_product(facing, light[:, None])[:, 0] * np.float32(0.85) + np.float32(0.15), 0, None)
    sky = scene.ambient * (0.8 + 0.2 * facing[:, 1])
    color = np.asarray(scene.light_color, np.float32)
    strength = np.float32(1.05 * (1 - 0.6 * scene.ambient))
    factor = mesh.occlusion[:, None] * (sky[:, None] + strength * diffuse[:, None] * color)
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    highlight = mesh.gloss * mesh.occlusion * np.clip(_product(facing, half[:, None])[:, 0], 0, None) ** 18
    return np.concatenate([factor, highlight[:, None] * color], axis=1).astype(np.float32)


def _sample(texture: npt.NDArray[np.uint8], positions: Array) -> Array:
    """Bilinear look-up at positions (2, P), across and down: (P, 3) in 0 to 255."""
    count = positions.shape[1]
    # OpenCV wants a picture-shaped map no longer than 32767 on a side
    across, down = np.pad(positions, ((0, 0), (0, -count % 256))).reshape(2, -1, 256)
    looked_up = cv2.remap(texture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return looked_up.reshape(-1, 3)[:count].astype(np.float32)


def _background(scene: Scene, size: int, rng: np.random.Generator) -> Array:
    """Backdrop, (size, size, 3) in 0 to 255."""
    base = rng.uniform(40, 215) + rng.uniform(-45, 45, 3)
    if scene.background == "plain":
        return np.full((size, size, 3), 128, np.float32)
    cells, spread = {"gradient": (2, 55.0), "blobs": (5, 50.0), "noise": (12, 28.0)}[scene.background]
    grey, tint = rng.uniform(-1, 1, (cells, cells, 1)), rng.uniform(-1, 1, (cells, cells, 3))
    coarse = (base + spread * (0.7 * grey + 0.5 * tint)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), 0, 255)
