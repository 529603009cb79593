"""Masks, points, intrinsics and keypoints of other programs: each known layout reads back what was written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_priors as tiny
from PIL import Image
from scipy.spatial.transform import Rotation

from hoijax.bodies.keypoints import openpose18_from_coco
from hoijax.errors import UserError
from hoijax.geometry.transforms import invert_rigid
from hoijax.importers.body_tracks import REST_PELVIS
from hoijax.importers.containers import read_arrays
from hoijax.importers.intrinsics import read_intrinsics
from hoijax.importers.keypoints import read_keypoints
from hoijax.importers.masks import fit_labels, read_label_masks
from hoijax.importers.points import read_points
from hoijax.io.video import write_video
from priors.models.from_files import FileKeypoints, FilePoints
from priors.observe.run import ObserveOptions, observe_clip
from priors.settings import ObserveSettings

DATA = Path(__file__).parents[1].parent / "shared/data/video"
T, H, W = 3, 6, 8
FRAMES = np.zeros((T, H, W, 3), np.uint8)
real = pytest.mark.skipif(not DATA.is_dir(), reason="the clips are not here")


def labels() -> np.ndarray:
    image = np.zeros((T, H, W), np.uint8)
    image[:, 1:4, 1:3] = 1
    for t in range(T):
        image[t, 2:4, 4 + t : 6 + t] = 2
    return image


def write_images(folder: Path, images, mode: str | None = None, palette=None) -> Path:
    folder.mkdir(parents=True)
    for t, image in enumerate(images):
        made = Image.fromarray(np.asarray(image))
        if palette is not None:
            made.putpalette(palette)
        (made if mode is None else made.convert(mode)).save(folder / f"{t}.png")
    return folder


def said() -> tuple[list[str], object]:
    lines: list[str] = []
    return lines, lines.append


# ---- masks

VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16"])
def test_label_images_of_any_mode(tmp_path, mode):
    if mode == "I;16":
        write_images(tmp_path / "m", labels().astype(np.uint16))
    elif mode == "L":
        write_images(tmp_path / "m", labels())
    else:
        write_images(tmp_path / "m", labels(), None if mode == "P" else mode, VOC)
    lines, log = said()
    found, parts = read_label_masks(tmp_path / "m", log=log)
    np.testing.assert_array_equal(found, labels())
    assert parts is None
    assert "values 1, 2" in lines[-1]


def test_grey_levels_and_other_colors_are_numbered_in_their_order(tmp_path):
    lines, log = said()
    write_images(tmp_path / "grey", labels() * 100)
    found, _ = read_label_masks(tmp_path / "grey", log=log)
    np.testing.assert_array_equal(found, labels())
    assert "100, 200" in lines[0]
    colors = np.array([[0, 0, 0], [9, 200, 7], [250, 3, 3]], np.uint8)[labels()]
    found, _ = read_label_masks(write_images(tmp_path / "rgb", colors), log=log)
    np.testing.assert_array_equal(found, labels())


def test_a_photograph_is_no_label_image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (2, H, W, 3), np.uint8)
    with pytest.raises(UserError, match="no labels"):
        read_label_masks(write_images(tmp_path / "m", noise))


def test_a_folder_an_object_goes_by_names_then_by_order(tmp_path):
    person, box = ((labels() == n).astype(np.uint8) * 255 for n in (1, 2))
    write_images(tmp_path / "a/box", box)
    write_images(tmp_path / "a/person", person)
    write_images(tmp_path / "b/000", person)
    write_images(tmp_path / "b/001", box)
    for name in "ab":
        lines, log = said()
        found, _ = read_label_masks(tmp_path / name, ["box"], 1, log)
        np.testing.assert_array_equal(found, labels())
        assert "1:" in lines[0]
        assert "2:" in lines[0]
    with pytest.raises(UserError, match="one mask each"):
        read_label_masks(tmp_path / "b", ["box", "chair"], 1)


def test_booleans_of_an_npz(tmp_path):
    masks = np.stack([labels() == 1, labels() == 2])
    np.savez(tmp_path / "one.npz", masks=masks[:, :, None])  # as SAM 2 has them
    np.savez(tmp_path / "named.npz", box=masks[1], person=masks[0])
    np.savez(tmp_path / "labels.npz", labels=labels())
    for name in ("one", "named", "labels"):
        found, _ = read_label_masks(tmp_path / f"{name}.npz", ["box"], 1)
        np.testing.assert_array_equal(found, labels(), err_msg=name)


@pytest.mark.parametrize("layout", ["demo", "sa-v", "plain counts"])
def test_coco_rle_by_frame(tmp_path, layout):
    """Coded by pycocotools, whose text form ours is read against."""
    mask = pytest.importorskip("pycocotools.mask")

    def code(binary: np.ndarray) -> dict:
        if layout == "plain counts":
            flat = binary.ravel(order="F").astype(int)
            edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
            counts = np.diff(np.concatenate([[0], edges])).tolist()
            return {"size": [H, W], "counts": counts}
        made = mask.encode(  # the oracle
            np.asfortranarray(binary.astype(np.uint8))
        )
        return {"size": made["size"], "counts": made["counts"].decode()}

    rows = [[code(image == n) for n in (1, 2)] for image in labels()]
    content = {"masklet": rows}
    if layout != "sa-v":
        frames = [
            {
                "frame_index": t,
                "results": [{"object_id": n, "mask": rle} for n, rle in enumerate(row)],
            }
            for t, row in enumerate(rows)
        ]
        content = frames[::-1]  # streamed backwards too
    (tmp_path / "m.json").write_text(json.dumps(content))
    found, _ = read_label_masks(tmp_path / "m.json", ["box"], 1)
    np.testing.assert_array_equal(found, labels())


def test_frames_that_a_rle_file_omits_are_empty(tmp_path):
    """Of frames 0 to 3 the file has 0 and 3; counted from 1 they are 1 and 4."""
    code = {"size": [2, 3], "counts": [0, 6]}
    for first in (0, 1):
        rows = [
            {"frame_index": first + t, "results": [{"object_id": 0, "mask": code}]} for t in (3, 0)
        ]
        (tmp_path / "m.json").write_text(json.dumps(rows))
        found, _ = read_label_masks(tmp_path / "m.json")
        assert found.any((1, 2)).tolist() == [True, False, False, True]
    (tmp_path / "m.json").write_text(json.dumps([{"frame_index": 10**9, "results": []}]))
    with pytest.raises(UserError, match="frame_index"):
        read_label_masks(tmp_path / "m.json")


def test_masks_of_another_size_are_resized_and_of_another_aspect_refused():
    lines, log = said()
    large = labels().repeat(3, 1).repeat(3, 2)
    np.testing.assert_array_equal(fit_labels(large, H, W, log), labels())
    assert "24 x 18" in lines[0]
    with pytest.raises(UserError, match="aspect"):
        fit_labels(large[:, :, :9], H, W)


@real
@pytest.mark.slow
def test_the_peer_masks_of_the_clips_are_read():
    found, _ = read_label_masks(DATA / "box/peer_masks", ["box"], 1)
    assert found.shape == (96, 360, 480)
    assert set(np.unique(found)) == {0, 1, 2}


# ---- intrinsics

K = np.array([[10.0, 0, 4], [0, 11, 3], [0, 0, 1]], np.float32)


@pytest.mark.parametrize("text", ["10,11,4,3", "10 11 4 3"])
def test_intrinsics_of_numbers(text):
    np.testing.assert_allclose(read_intrinsics(text).at(W, H)[0], K)


@pytest.mark.parametrize(
    "content",
    [
        {"fx": 10, "fy": 11, "cx": 4, "cy": 3},
        {"K": K.tolist()},
        {"intrinsics": (K / np.array([[W], [H], [1]])).tolist()},  # MoGe: shares of the sides
        {"fx": 20, "fy": 22, "cx": 8, "cy": 6, "width": 2 * W, "height": 2 * H},
    ],
)
def test_intrinsics_of_json(tmp_path, content):
    (tmp_path / "k.json").write_text(json.dumps(content))
    np.testing.assert_allclose(read_intrinsics(tmp_path / "k.json").at(W, H)[0], K, rtol=1e-5)


def test_a_focal_length_and_a_field_of_view_are_of_the_middle(tmp_path):
    (tmp_path / "k.json").write_text('{"focal_length": 10}')  # SAM 3D Body
    wanted = [[10, 0, 4], [0, 10, 3], [0, 0, 1]]
    fov = 2 * np.degrees(np.arctan(W / 20))
    for given in ("10", tmp_path / "k.json", f"fov={fov}"):
        np.testing.assert_allclose(read_intrinsics(given).at(W, H)[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("given", ["1,2,3", "0.01", "nothing.json", "fov=200"])
def test_intrinsics_that_cannot_be(given):
    with pytest.raises(UserError):
        read_intrinsics(given).at(W, H)


def test_intrinsics_of_a_clip_that_is_read_smaller():
    """Pixels are those of the file; shares and fields of view are of any size."""
    half = read_intrinsics("10,11,4,3").measured_at((W, H)).at(W // 2, H // 2)[0]
    np.testing.assert_allclose(half, K * np.array([[0.5], [0.5], [1]]))
    fov = read_intrinsics("fov=50").measured_at((W, H)).at(W // 2, H // 2)[0]
    np.testing.assert_allclose(fov, read_intrinsics("fov=50").at(W // 2, H // 2)[0])


@real
def test_the_camera_of_a_real_gvhmr_file():
    found = read_intrinsics(DATA / "tennis/hmr4d_results.pt").at(812, 720)
    assert found.shape == (312, 3, 3)
    np.testing.assert_allclose(
        found[0, [0, 1, 0, 1], [0, 1, 2, 2]], [1085.24, 1085.24, 406, 360], atol=0.01
    )


# ---- keypoints


def coco(rng) -> np.ndarray:
    return np.concatenate([rng.uniform(1, 5, (T, 17, 2)), rng.uniform(0.5, 1, (T, 17, 1))], -1)


def test_coco_arrays_in_every_container(tmp_path):
    points = coco(np.random.default_rng(0))
    np.save(tmp_path / "a.npy", points)
    np.savez(tmp_path / "a.npz", keypoints=points[:, None])
    (tmp_path / "a.json").write_text(json.dumps(points.tolist()))
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(points), tmp_path / "a.pt")
    for kind in ("npy", "npz", "json", "pt"):
        given = read_keypoints(tmp_path / f"a.{kind}")
        assert given.order == "COCO-17"
        np.testing.assert_allclose(given.points[:, 0], openpose18_from_coco(points), rtol=1e-5)


def test_openpose_folders_and_who_is_who(tmp_path):
    """Two people who change places in the list: boxes tell them apart."""
    left, right = np.tile([1.0, 1.0, 0.9], (25, 1)), np.tile([6.0, 4.0, 0.8], (25, 1))
    for t in range(T):
        people = [left, right][:: 1 if t % 2 else -1] if t else [right]
        rows = [{"pose_keypoints_2d": person.ravel().tolist()} for person in people]
        (tmp_path / f"clip_{t:012d}_keypoints.json").write_text(json.dumps({"people": rows}))
    given = read_keypoints(tmp_path)
    assert (given.order, given.points.shape) == ("OpenPose BODY_25", (T, 2, 18, 3))
    boxes = np.tile([0.0, 0.0, 3.0, 3.0], (T, 1)).astype(np.float32)
    found = FileKeypoints(given).keypoints(FRAMES, boxes, np.ones(T, bool))
    np.testing.assert_allclose(found[0], 0)
    np.testing.assert_allclose(found[1:, :, :2], 1.0)


def test_keypoints_of_another_clip_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", coco(np.random.default_rng(0)) * (100, 100, 1))
    source = FileKeypoints(read_keypoints(tmp_path / "a.npy"))
    with pytest.raises(UserError, match="frames"):
        source.check_clip(T + 1, 600, 800)
    with pytest.raises(UserError, match="outside"):
        source.check_clip(T, H, W)
    source.check_clip(T, 600, 800)


def test_keypoints_of_a_clip_that_is_read_smaller(tmp_path):
    np.save(tmp_path / "a.npy", coco(np.random.default_rng(0)))
    whole, half = (FileKeypoints(read_keypoints(tmp_path / "a.npy")) for _ in range(2))
    half.measured_at((W, H), 0.5)
    boxes = np.tile([0, 0, W, H], (T - 1, 1)).astype(np.float32)  # a clip of its first frames
    cut = whole.keypoints(FRAMES[1:], boxes, np.ones(T - 1, bool))
    np.testing.assert_array_equal(cut[..., :2], whole.given.points[: T - 1, 0, :, :2])
    np.testing.assert_allclose(half.given.points[..., :2], 0.5 * whole.given.points[..., :2])
    np.testing.assert_array_equal(half.given.points[..., 2], whole.given.points[..., 2])


@real
def test_a_real_vitpose_file():
    given = read_keypoints(DATA / "tennis/vitpose.pt")
    assert given.points.shape == (312, 1, 18, 3)
    assert np.median(given.points[..., 2]) > 0.8
    FileKeypoints(given).check_clip(312, 720, 812)


# ---- points


def scene() -> tuple[np.ndarray, np.ndarray]:
    """(depth (T, H, W), points) of a slanted wall seen by K."""
    v, u = np.meshgrid(np.arange(H) + 0.5, np.arange(W) + 0.5, indexing="ij")
    rays = np.stack([(u - 4) / 10, (v - 3) / 11, np.ones_like(u)], -1)
    depth = 1.5 + 0.01 * (u + v) + 0.01 * np.arange(T)[:, None, None]
    return depth.astype(np.float32), (rays * depth[..., None]).astype(np.float32)


def write_points(folder: Path, layout: str) -> tuple[Path, str | None]:
    """(path, intrinsics that must be said beside it)."""
    depth, points = scene()
    shares = K / np.array([[W], [H], [1]], np.float32)
    if layout == "points npz":
        np.savez(folder / "a.npz", points=points)
        return folder / "a.npz", None
    if layout == "moge npz":
        np.savez(
            folder / "a.npz",
            points=points,
            depth=depth,
            mask=depth > 0,
            intrinsics=np.tile(shares, (T, 1, 1)),
        )
        return folder / "a.npz", None
    if layout == "depth npz":
        np.savez(folder / "a.npz", depth=depth, intrinsics=K)
        return folder / "a.npz", None
    if layout == "png":
        write_images(folder / "d", np.round(depth * 5000).astype(np.uint16))
        (folder / "d/scale.json").write_text('{"scale": 0.0002}')
        return folder / "d", "10,11,4,3"
    exr = pytest.importorskip("OpenEXR")
    for t in range(T):
        frame = folder / f"{t:03d}"
        frame.mkdir()
        header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
        channels = {name: np.ascontiguousarray(points[t, ..., c]) for c, name in enumerate("RGB")}
        exr.File(header, channels).write(str(frame / "points.exr"))
        Image.fromarray(np.full((H, W), 255, np.uint8)).save(frame / "mask.png")
    return folder, None


@pytest.mark.parametrize("layout", ["points npz", "moge npz", "depth npz", "png", "moge exr"])
def test_point_maps_read_back(tmp_path, layout):
    path, said_camera = write_points(tmp_path, layout)
    lines, log = said()
    source = FilePoints(read_points(path, log))
    assert f"{T} frames" in lines[-1]
    source.check_clip(T, H, W)
    camera = (
        None if said_camera is None else np.tile(read_intrinsics(said_camera).at(W, H), (T, 1, 1))
    )
    maps = source.point_maps(FRAMES, camera)
    np.testing.assert_allclose(maps.intrinsics, np.tile(K, (T, 1, 1)), rtol=1e-3)
    assert maps.valid.mean() > 0.3
    np.testing.assert_allclose(maps.points[maps.valid], scene()[1][maps.valid], atol=2e-3)


def test_depth_without_a_camera_and_depth_pictures_for_looking_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", depth=scene()[0])
    with pytest.raises(UserError, match="--intrinsics"):
        FilePoints(read_points(tmp_path / "a.npz")).point_maps(FRAMES)
    with pytest.raises(UserError, match="16 bits"):
        read_points(write_images(tmp_path / "d", labels()))


def test_files_that_say_nothing_are_refused_before_any_work(tmp_path):
    k = np.eye(3)
    np.savez(tmp_path / "d.npz", depth=np.full((T, H, W), 2500.0), intrinsics=k)
    with pytest.raises(UserError, match=r"nearer than 100 m.*in metres, not in millimetres"):
        FilePoints(read_points(tmp_path / "d.npz")).check_clip(T, H, W)
    depth = np.zeros((T, H, W))
    depth[-1] = 2.0
    np.savez(tmp_path / "d.npz", depth=depth)
    given = FilePoints(read_points(tmp_path / "d.npz"))
    with pytest.raises(UserError, match="holds no valid depth"):
        given.check_clip(T - 1, H, W)
    with pytest.raises(UserError, match=r"depth without a camera. Give --intrinsics"):
        given.check_camera()
    np.savez(tmp_path / "k.npz", keypoints=np.full((T, 17, 3), np.nan))
    with pytest.raises(UserError, match="no keypoint of the clip's 3 frames is a number"):
        FileKeypoints(read_keypoints(tmp_path / "k.npz")).check_clip(T, H, W)


def test_maps_of_another_size_are_resized(tmp_path):
    depth = scene()[0].repeat(2, 1).repeat(2, 2)
    np.savez(tmp_path / "a.npz", depth=depth, intrinsics=K * np.array([[2], [2], [1]]))
    source, (lines, log) = FilePoints(read_points(tmp_path / "a.npz")), said()
    source.check_clip(T, H, W, log)
    assert "16 x 12" in lines[0]
    maps = source.point_maps(FRAMES, np.tile(K, (T, 1, 1)))
    np.testing.assert_allclose(maps.points[maps.valid], scene()[1][maps.valid], atol=2e-3)


# ---- containers


def test_pickles_are_refused_with_the_way_out(tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"poses": Harm()}))
    np.save(tmp_path / "a.npy", np.array({"poses": 1}, object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", poses=np.array({"poses": 1}, object))
    torch = pytest.importorskip("torch")
    torch.save({"poses": Harm()}, tmp_path / "a.pt")
    for kind in ("pkl", "npy", "npz", "pt"):
        with pytest.raises(UserError, match="bring-your-own"):
            read_arrays(tmp_path / f"a.{kind}")
    assert not (tmp_path / "harm").exists()


# ---- all of it


@pytest.mark.slow
def test_a_clip_with_files_for_every_role_needs_no_model(tmp_path):
    """Files of what is true of a rendered clip end as the bundle of that truth, from the sentence by rules."""
    scene_files = tiny.answers()
    count, (rows, columns) = tiny.FRAMES, tiny.SMALL
    write_video(tmp_path / "clip.mp4", scene_files.frames, tiny.FPS)
    write_images(tmp_path / "masks", scene_files.labels)
    np.savez(
        tmp_path / "p.npz",
        points=scene_files.points.astype(np.float32),
        intrinsics=scene_files.intrinsics,
    )
    np.save(tmp_path / "k.npy", scene_files.keypoints[0])
    turn = Rotation.from_matrix(scene_files.T_world_camera[:3, :3])
    pelvis = scene_files.rest_joints[0, 0] + scene_files.translations[0]
    root = turn.inv() * Rotation.from_rotvec(scene_files.rotations[0][:, 0])
    incam = {
        "global_orient": root.as_rotvec(),
        "body_pose": scene_files.rotations[0][:, 1:22].reshape(count, 63),
        "transl": turn.inv().apply(pelvis - scene_files.T_world_camera[:3, 3])
        - REST_PELVIS["smplx"],
        "betas": np.zeros((count, 10)),
    }
    np.savez(
        tmp_path / "b.npz", **{f"smpl_params_incam/{key}": value for key, value in incam.items()}
    )
    options = ObserveOptions(
        ObserveSettings(frames=count, height=rows, width=columns),
        video=tmp_path / "clip.mp4",
        masks=tmp_path / "masks",
        points=tmp_path / "p.npz",
        names={
            "language": "rules",
            "keypoints": str(tmp_path / "k.npy"),
            "body": str(tmp_path / "b.npz"),
        },
        cache=tmp_path / "cache",
    )
    lines, log = said()
    bundle, _ = observe_clip(tiny.TEXT, scene_files.assets, options, log=log)
    seen = bundle.observations
    np.testing.assert_array_equal(seen.instance_ids, scene_files.labels)
    np.testing.assert_allclose(seen.intrinsics[0], scene_files.intrinsics, rtol=1e-4)
    back = invert_rigid(np.asarray(seen.Ts_world_camera, float))
    found = seen.body_rest_joints[0, 0] + seen.body_translations[0]
    local = np.einsum("tij,tj->ti", back[:, :3, :3], found) + back[:, :3, 3]
    wanted = turn.inv().apply(pelvis - scene_files.T_world_camera[:3, 3])
    np.testing.assert_allclose(local, wanted, atol=0.01)
    assert np.ptp(seen.body_rest_joints[0, :, 1]) == pytest.approx(
        np.ptp(scene_files.rest_joints[0, :, 1]), rel=0.05
    )
    assert bundle.provenance["body_rotations"].model == "file b.npz"
    assert any("the file has no world; up is that of" in line for line in lines)
