"""Head pose: the angle convention of 300W-LP and AFLW2000-3D.

Camera frame: x to the right of the image, y up, z towards the viewer. Positive yaw turns the face to the left side
of the image, positive pitch looks up, positive roll lowers the eye on the right side of the image. The matrices
compose as ``Rx(pitch) @ Ry(yaw) @ Rz(roll)``: of the six possible orders this is the one under which the 3D landmarks
of AFLW2000-3D faces coincide best after their labelled rotation is undone.
"""

import numpy as np
import numpy.typing as npt


def rotation_matrix(yaw: float, pitch: float, roll: float) -> npt.NDArray[np.float64]:
    """(3, 3) matrix R of angles in degrees: the column vector p in head coordinates is R @ p for the camera."""
    y, x, z = np.radians([yaw, pitch, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z
