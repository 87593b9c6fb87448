"""Miniature releases in the exact official layouts, quirks included."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat


def image(path: Path, height: int = 20, width: int = 20, seed: int = 0) -> Path:
    """A smooth random image; the suffix chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng([seed, *path.name.encode()]).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(small, (width, height)))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return path


def rafdb(root: Path, folder: str = "basic") -> Path:
    """Five digits in train names, four in test names, `_aligned` in file names, no newline at the end."""
    lines = ["train_00001.jpg 5", "train_00002.jpg 1", "train_00003.jpg 7", "test_0001.jpg 4", "test_0002.jpg 7"]
    text(root / folder / "EmoLabel" / "list_patition_label.txt", "\n".join(lines))
    for line in lines:
        stem = line.split(".")[0]
        image(root / folder / "Image" / "aligned" / f"{stem}_aligned.jpg", 100, 100)
        image(root / folder / "Image" / "original" / f"{stem}.jpg", 120, 160)
        points = "60\t40\n80\t40\n70\t50\n62\t60\n78\t60\n"
        text(root / folder / "Annotation" / "manual" / f"{stem}_manu_attri.txt", f"{points}0\n1\n2\n")
    return root


def lfw(root: Path, folder: str = "lfw", header: bool = True) -> Path:
    """Ten folds of two same-person and two different-person lines, tabs, numbers not padded."""
    lines = ["10\t2"] if header else []
    for fold in range(10):
        for i in range(2):
            person = f"Ann_{'ABCDEFGHIJ'[fold]}{'xy'[i]}"
            lines.append(f"{person}\t1\t{i + 2}")
            for number in (1, i + 2):
                image(root / folder / person / f"{person}_{number:04d}.jpg")
        for _ in range(2):
            first, second = (f"Ann_{'ABCDEFGHIJ'[fold]}{k}" for k in "xy")
            lines.append(f"{first}\t1\t{second}\t1")
    text(root / "pairs.txt", "\n".join(lines) + "\n")
    return root


def cplfw(root: Path) -> Path:
    """Two lines per pair, same-person pairs first, so that folds are not contiguous; a blank in a folder name."""
    lines = []
    for same in (1, 0):
        for pair in range(20):
            names = [f"P_{pair}_1.jpg", f"P_{pair}_2.jpg" if same else f"Q_{pair}_3.jpg"]
            lines += [f"{name} {same}" for name in names]
            for name in names:
                image(root / "aligned images" / name)
                image(root / "images" / name, 60, 80)
                text(root / "images" / f"{name[:-4]}_5loc_attri.txt", "30.5 20\n50 20\n40 30\n32 40\n48 40.0\n")
    text(root / "pairs_CPLFW.txt", "\n".join(lines) + "\n")
    return root


DISFA_SUBJECTS = ("SN001", "SN006", "SN010")


def disfa_labels(root: Path, frames: int = 6, subjects: Sequence[str] = DISFA_SUBJECTS) -> Path:
    """Twelve files per subject, frames from 1; SN010 is one frame short."""
    for subject in subjects:
        count = frames - (subject == "SN010")
        for unit in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26):
            lines = [f"{frame + 1},{(frame + unit) % 6}" for frame in range(count)]
            text(root / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt", "\n".join(lines) + "\n")
    return root


def disfa_frames(
    root: Path,
    folder: str,
    suffix: str,
    frames: int = 6,
    missing: tuple[int, ...] = (),
    subjects: Sequence[str] = DISFA_SUBJECTS,
) -> Path:
    for subject in subjects:
        for frame in range(frames):
            if frame not in missing:
                image(root / folder / subject / f"{frame}.{suffix}", 48, 64)
    return root


def video(path: Path, frames: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    assert writer.isOpened()
    for frame in range(frames):
        writer.write(np.full((48, 64, 3), 40 * frame % 256, np.uint8))
    writer.release()
    return path


def disfa_videos(root: Path, frames: int = 6) -> Path:
    """`Videos_`/`_comp` on the left, `Video_`/`_Comp` on the right."""
    for subject in DISFA_SUBJECTS:
        video(root / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", frames)
        video(root / "Video_RightCamera" / f"RightVideo{subject}_Comp.avi", frames - 1)
    return root


def disfa_landmarks(root: Path, points: np.ndarray, first: int = 0, frames: int = 6) -> Path:
    """The same 66 points for every frame, files numbered from `first`."""
    for subject in DISFA_SUBJECTS:
        for frame in range(frames):
            path = root / "Landmark_Points" / subject / f"{subject}_{frame + first:04d}_lm.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(path, {"pts": points})
    return root


def face_mat(path: Path, pitch: float, yaw: float, roll: float, points: np.ndarray, aflw: bool) -> None:
    """Angles in degrees here, radians in the file; AFLW2000 hides points in pt2d as (-1, 452)."""
    pose = np.array([[*np.radians([pitch, yaw, roll]), 1.0, 2.0, 0.0, 1e-3]], np.float32)
    content = {"Pose_Para": pose, "roi": np.array([[-5, 0, 460, 450]], np.int16)}
    if aflw:
        content["pt3d_68"] = np.vstack([points, np.zeros(68)]).astype(np.float32)
        hidden = points[:, :21].copy()
        hidden[:, :9] = [[-1.0], [452.0]]
        content["pt2d"] = hidden
    else:
        content["pt2d"] = points
    savemat(path, content)


def head_pose(root: Path) -> Path:
    """Both sets, one image beyond 99 degrees in each, and .mat files in folders that must not be read."""
    points = np.vstack([np.linspace(11, 41, 68), np.linspace(21, 61, 68)])
    angles = {"IBUG_image_1_0": (5, 10, -3), "IBUG_image_1_1": (0, -120, 0)}
    for folder in ("IBUG", "AFW_Flip"):
        for name, (pitch, yaw, roll) in angles.items():
            image(root / "300W_LP" / folder / f"{name}.jpg", 90, 90)
            face_mat(root / "300W_LP" / folder / f"{name}.mat", pitch, yaw, roll, points, aflw=False)
    for name, (pitch, yaw, roll) in {"image00002": (-20, 45, 7), "image00004": (101, 0, 0)}.items():
        image(root / "AFLW2000" / f"{name}.jpg", 90, 90)
        face_mat(root / "AFLW2000" / f"{name}.mat", pitch, yaw, roll, points, aflw=True)
    for folder in ("300W_LP/landmarks/IBUG", "300W_LP/Code", "AFLW2000/Code"):
        text(root / folder / "image00009.mat", "not a face")
        image(root / folder / "image00009.jpg")
    return root


def bu3dfe(root: Path, subjects: tuple[str, ...] = ("F0001", "F0002", "M0001")) -> Path:
    for subject in subjects:
        names = ["NE00WH", *(f"{code}{level:02d}WH" for code in ("AN", "SU") for level in (1, 4))]
        for name in names:
            image(root / subject / f"{subject}_{name}_F2D.bmp", 30, 40)
            text(root / subject / f"{subject}_{name}_F3D.wrl", "#VRML")
    return root


def affectnet_arrays(root: Path) -> Path:
    """The reduced release: one array per number, held as a string; code 7 is contempt."""
    for folder, codes in (("train_set", (0, 6, 7, 3)), ("val_set", (1, 7))):
        for number, code in enumerate(codes):
            image(root / folder / "images" / f"{number}.jpg", 224, 224)
            annotations = root / folder / "annotations"
            annotations.mkdir(exist_ok=True)
            np.save(annotations / f"{number}_exp.npy", np.array(str(code)))
            np.save(annotations / f"{number}_lnd.npy", np.linspace(50, 149, 136))
    return root


def affectnet_csv(root: Path) -> Path:
    """The full release: the training list has a header, the validation list has none."""
    points = ";".join(["40;50", *["60;70"] * 67])
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    line = "{},1,2,30,30,{},{},0.1,-0.2"
    for file, names, first in (
        ("training.csv", ("1/a.jpg", "1/b.jpg", "2/c.png"), [header]),
        ("validation.csv", ("3/d.jpg",), []),
    ):
        rows = [line.format(name, points, code) for name, code in zip(names, (2, 10, 5), strict=False)]
        text(root / "Manually_Annotated_file_lists" / file, "\n".join([*first, *rows]) + "\n")
        for name in names:
            image(root / "Manually_Annotated_Images" / name, 100, 100)
    return root


def celeba(root: Path, split_folders: bool = False) -> Path:
    """Lists with two header lines, runs of blanks between numbers; flat, or in Img, Anno, Eval."""
    img, anno, evaluation = ("Img/", "Anno/", "Eval/") if split_folders else ("", "", "")
    names = [f"{number:06d}.jpg" for number in range(1, 6)]
    for name in names:
        image(root / f"{img}img_align_celeba" / name, 218, 178)
    titles = " ".join(f"Attribute_{k}" for k in range(40))
    rows = [f"{name} " + " ".join(f"{1 if (k + i) % 2 else -1:>2d}" for k in range(40)) for i, name in enumerate(names)]
    text(root / f"{anno}list_attr_celeba.txt", "\n".join([str(len(names)), titles + " ", *rows]) + "\n")
    parts = (0, 0, 1, 2, 2)
    text(
        root / f"{evaluation}list_eval_partition.txt", "".join(f"{n} {p}\n" for n, p in zip(names, parts, strict=True))
    )
    text(root / f"{anno}identity_CelebA.txt", "".join(f"{name} {i + 2880}\n" for i, name in enumerate(names)))
    points = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    rows = [f"{name} 69  109  106  113   77  142   73  152  108  154" for name in names]
    text(root / f"{anno}list_landmarks_align_celeba.txt", "\n".join([str(len(names)), points, *rows]) + "\n")
    return root


def pts(path: Path, points: np.ndarray) -> Path:
    """Pixels counted from 1, as MATLAB does."""
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points + 1)
    return text(path, f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n")


LANDMARKS_68 = np.column_stack([np.linspace(20, 60, 68), np.linspace(30, 50, 68)])


def landmarks_300w(root: Path) -> Path:
    """A blank in an ibug name, a mirrored copy, png in lfpw."""
    names = ["afw/1.jpg", "afw/1_mirror.jpg", "helen/trainset/2_1.jpg", "lfpw/trainset/image_0001.png"]
    names += ["helen/testset/3_1.jpg", "lfpw/testset/image_0002.png", "ibug/image_092 _01.jpg"]
    for name in names:
        pts(image(root / name, 80, 100).with_suffix(".pts"), LANDMARKS_68)
    return root


LANDMARKS_98 = np.column_stack([np.linspace(10, 50, 98), np.linspace(20, 40, 98)])


def wflw(root: Path) -> Path:
    coordinates = " ".join(f"{value:.6f}" for value in LANDMARKS_98.ravel())
    for split, names in (("train", ("0--Parade/a.jpg", "0--Parade/b.jpg")), ("test", ("1--Handshaking/c.jpg",))):
        rows = [f"{coordinates} 10 20 50 40 1 0 0 0 1 0 {name}" for name in names]
        folder = root / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
        text(folder / f"list_98pt_rect_attr_{split}.txt", "\n".join(rows) + "\n")
        for name in names:
            image(root / "WFLW_images" / name, 80, 100)
    return root


def listed_pairs(root: Path, different: str = "-1") -> Path:
    """Twenty one-line pairs, different and same person by turns, as the public code writes them."""
    lines = []
    for pair in range(20):
        for name in (f"A_{pair}.jpg", f"B_{pair}.jpg"):
            image(root / name)
        lines.append(f"A_{pair}.jpg B_{pair}.jpg {'1.0' if pair % 2 else different}")
    text(root / "pairs.txt", "\n".join(lines))
    return root


def listed_units(root: Path) -> Path:
    """Two action units in both lists; a third image stands in none."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        image(root / name)
    text(root / "train_list.txt", "a.jpg,0,1\n")
    text(root / "test_list.txt", "b.jpg,0,1\n")
    return root


def cifar10(root: Path) -> Path:
    """Pickled batches of two images each, with the official class names."""
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.arange(2 * 3072, dtype=np.int64).reshape(2, 3072).astype(np.uint8)
    for number, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [number, 9 - number]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return root
