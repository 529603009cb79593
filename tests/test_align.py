"""A photograph's person and object on one floor: a rendered scene whose answer is known, and a real one."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from export_scene import export_clip
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from hoijax.api.align import align
from hoijax.cli.aligning import why_low
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.initialization.photo import PhotoMasks, visible_ious
from hoijax.objects.asset import load_asset
from hoijax.rendering.raycast import RenderMesh, cast

pytestmark = pytest.mark.optimized

PHOTO = Path(__file__).parents[1].parent / "shared/data/video/photo"
CAMERA = PinholeCamera.from_field_of_view(45.0, 320, 240)
OCCLUDERS = (
    [
        (737, 626),
        (763, 624),
        (779, 640),
        (779, 674),
        (766, 714),
        (737, 760),
        (709, 784),
        (693, 783),
        (690, 754),
        (699, 703),
        (714, 663),
    ],  # skateboard
    [
        (659, 654),
        (665, 626),
        (686, 594),
        (709, 577),
        (743, 577),
        (754, 589),
        (754, 629),
        (720, 663),
        (674, 665),
    ],  # red jacket
    [
        (754, 589),
        (789, 585),
        (803, 594),
        (811, 617),
        (831, 640),
        (837, 659),
        (777, 659),
        (754, 640),
    ],  # grey jacket
    [
        (282, 606),
        (291, 599),
        (371, 599),
        (377, 611),
        (378, 789),
        (368, 795),
        (291, 797),
        (283, 789),
    ],  # suitcase
)
SCALE = 3.7  # metres a unit of the object's file


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    """A person beside a chair, seen from above by 12 degrees; the chair's file is small and turned."""
    folder = tmp_path_factory.mktemp("photo")
    clip, chair = export_clip(), load_asset("chair")
    person = clip.people[0].vertices_world[0].astype(np.float64)
    person -= [person[:, 0].mean() + 0.6, person[:, 1].min(), person[:, 2].mean()]
    turn = Rotation.from_euler("y", 0.7)
    placed = turn.apply(chair.vertices) + np.array([0.7, 0, -0.4])
    placed[:, 1] -= placed[:, 1].min()
    faces = np.asarray(clip.people[0].shaped.faces)
    T = look_at(np.array([0, 1.9, 4.2]), np.array([0, 1.0, 0]))
    meshes = [
        RenderMesh(person.astype(np.float32), faces, 1),
        RenderMesh(placed.astype(np.float32), chair.faces, 2),
    ]
    ids = cast(meshes, CAMERA, T).instance_ids
    Image.fromarray(np.full((*ids.shape, 3), 200, np.uint8)).save(folder / "image.png")
    for number, name in ((1, "person"), (2, "object")):
        Image.fromarray((ids == number).astype(np.uint8) * 255).save(folder / f"{name}.png")
    local = (person - T[:3, 3]) @ T[:3, :3]
    trimesh.Trimesh(local * [1, -1, -1], faces, process=False).export(folder / "person.ply")
    small = Rotation.from_euler("y", -1.0).apply(chair.vertices) / SCALE
    trimesh.Trimesh(small, chair.faces, process=False).export(folder / "object.glb")
    (folder / "focal_length.json").write_text(json.dumps({"focal_length": CAMERA.fx}))
    np.save(folder / "placed.npy", placed)
    return folder


def files(folder: Path) -> dict:
    return {
        "image": folder / "image.png",
        "person": folder / "person.ply",
        "object_": folder / "object.glb",
        "person_mask": folder / "person.png",
        "object_mask": folder / "object.png",
    }


@pytest.mark.slow
def test_the_object_gets_its_size_and_its_place_on_the_floor(photo, tmp_path):
    found = align(**files(photo), out=tmp_path / "out")
    assert found.object_scale == pytest.approx(SCALE, rel=0.06)
    assert found.object_iou > 0.85  # of a small image, whose last pixels depend on the compiler
    assert found.person_iou > 0.97
    assert found.floor_gap < 0.03
    bodies = trimesh.load(tmp_path / "out" / "object.glb", force="mesh")
    placed, wanted = np.asarray(bodies.vertices), np.load(photo / "placed.npy")
    assert abs(placed[:, 1].min()) < 0.03
    np.testing.assert_allclose(np.ptp(placed[:, 1]), np.ptp(wanted[:, 1]), rtol=0.08)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"person.glb", "object.glb", "scene.glb", "overlay.png", "alignment.json"}
    assert json.loads((tmp_path / "out" / "alignment.json").read_text())["object_iou"] > 0.85


@pytest.mark.slow
@pytest.mark.thorough
def test_what_stands_in_front_takes_nothing_from_the_object_where_a_mask_names_it(photo, tmp_path):
    """A post before the chair's side, its mask given: size and place are those of the whole chair."""
    mask = np.asarray(Image.open(photo / "object.png")) > 0
    columns = np.nonzero(mask.any(0))[0]
    post = np.zeros(mask.shape, bool)
    post[:, columns[0] - 15 : columns[len(columns) // 3]] = True
    for name, image in (("post", post), ("rest", mask & ~post)):
        Image.fromarray(image.astype(np.uint8) * 255).save(tmp_path / f"{name}.png")
    hidden = files(photo) | {"object_mask": tmp_path / "rest.png"}
    found = align(**hidden, occluder_masks=[tmp_path / "post.png"], out=tmp_path / "out")
    assert found.object_scale == pytest.approx(SCALE, rel=0.06)
    assert found.object_iou > 0.85  # 0.48 without the post's mask, and the chair is 7 % too small


def test_each_is_measured_where_nothing_in_front_hides_it():
    """A person in four columns of ten: a box held in one, a post before another, clothes in a third."""
    person, box, post, labels = (np.zeros((4, 10), kind) for kind in (bool, bool, bool, np.uint8))
    labels[:, 2:6] = 1
    labels[:, 3] = 2  # the box as drawn, where its mask is
    box[:, 3:5] = True  # and one column wider, which the drawn one lacks
    post[:, 5] = True
    person[:, [1, 2]] = True
    masks = PhotoMasks(person, box, (post,))
    assert visible_ious(labels, masks) == (0.5, 0.5)
    assert visible_ious(labels, PhotoMasks(person, box))[0] == pytest.approx(1 / 3)
    assert visible_ious(np.where(labels == 2, 1, labels), masks) == (pytest.approx(1 / 2), 0.0)


def test_files_that_do_not_fit_are_refused(photo, tmp_path):
    wrong = tmp_path / "small.png"
    Image.new("L", (8, 8), 255).save(wrong)
    empty = tmp_path / "empty.png"
    Image.new("L", (320, 240)).save(empty)
    cases = {"8 x 8": wrong, "empty": empty, "image": photo / "person.ply"}
    for says, mask in cases.items():
        with pytest.raises(UserError, match=says):
            align(**files(photo) | {"object_mask": mask}, out=tmp_path / "out")
    with pytest.raises(UserError, match=r"none.ply: there is no such file"):
        align(**(files(photo) | {"person": photo / "none.ply"}), out=tmp_path / "out")
    with pytest.raises(UserError, match="mesh"):
        align(**files(photo) | {"object_": photo / "image.png"}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not PHOTO.is_dir(), reason="the photograph is not here")
def test_the_real_photograph(tmp_path):
    """A suitcase, jackets and a skateboard before the bench, outlined by hand; clothes keep the person's IoU down."""
    things = Image.new("L", (1600, 898))
    for outline in OCCLUDERS:
        ImageDraw.Draw(things).polygon(outline, fill=255)
    things.save(tmp_path / "things.png")
    found = align(
        PHOTO / "image.png",
        PHOTO / "human.ply",
        PHOTO / "object.glb",
        PHOTO / "person_mask.png",
        PHOTO / "object_mask.png",
        tmp_path / "out",
        occluder_masks=[tmp_path / "things.png"],
    )
    assert found.floor_gap < 0.03
    assert found.object_covered > 0.92
    assert (
        found.object_iou > 0.87
    )  # its mesh has no more than 0.90 at any pose, size and focal length
    assert found.person_iou > 0.7
    assert 2.0 < found.object_scale < 3.2


def test_a_low_iou_says_which_side_is_larger():
    """Of a mask of 100 pixels 73 are drawn, and 1 beside it; then 95, and 40 beside it."""
    assert "99 % of what is drawn lies in its mask, 73 % of the mask" in why_low(
        "p", 73 / 101, 0.73
    )
    assert "such as clothes" in why_low("person", 73 / 101, 0.73)
    assert "--occluder-mask" in why_low("object", 95 / 140, 0.95)
    assert "0 % of the mask" in why_low("object", 0.0, 0.0)
