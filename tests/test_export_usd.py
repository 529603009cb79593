"""USD read back by Pixar's own library: its skinning gives the posed skin, its transforms the objects."""

import sys
from unittest import mock

import numpy as np
import pytest
from export_scene import FPS, FRAMES, export_clip, vertices_world

from hoijax.bodies.skinned_body import JOINT_NAMES
from hoijax.errors import UserError
from hoijax.exporters.usd import save_usd
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

pytest.importorskip("pxr", reason="pip install 'hoijax[export]'")
from pxr import Gf, Usd, UsdGeom, UsdSkel, Vt


@pytest.fixture(scope="module", params=["y", "z"])
def read(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("usd") / "scene.usdc"
    save_usd(path, export_clip(), z_up=request.param == "z")
    turn = Z_UP_FROM_Y_UP if request.param == "z" else np.eye(3)
    return Usd.Stage.Open(str(path)), turn, request.param.upper()


def test_units_axes_and_times_are_declared(read):
    stage, _, up = read
    assert UsdGeom.GetStageUpAxis(stage) == up
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert (stage.GetTimeCodesPerSecond(), stage.GetEndTimeCode()) == (FPS, FRAMES - 1)


def test_pixars_skinning_gives_the_posed_skin(read):
    stage, turn, _ = read
    cache = UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetPrimAtPath("/interaction/person_1"))
    cache.Populate(root, Usd.PrimDefaultPredicate)
    skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath("/interaction/person_1/skeleton"))
    query = cache.GetSkelQuery(skeleton)
    assert query
    assert [path.split("/")[-1] for path in query.GetJointOrder()] == list(JOINT_NAMES)
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/interaction/person_1/skin"))
    skin = cache.GetSkinningQuery(mesh.GetPrim())
    for frame in (0, FRAMES - 1):
        points = Vt.Vec3fArray(mesh.GetPointsAttr().Get())
        assert skin.ComputeSkinnedPoints(query.ComputeSkinningTransforms(frame), points, frame)
        expected = export_clip().people[0].vertices_world[frame] @ turn.T
        np.testing.assert_allclose(np.array(points), expected, atol=2e-5)


def test_objects_stand_where_they_are(read):
    stage, turn, _ = read
    for o, asset in enumerate(export_clip().assets):
        mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"/interaction/object_{o + 1}"))
        assert mesh.GetPrim().GetDisplayName() == asset.name
        np.testing.assert_array_equal(
            np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), asset.faces
        )
        for frame in range(FRAMES):
            world = UsdGeom.XformCache(frame).GetLocalToWorldTransform(mesh.GetPrim())
            corner = np.array(world.Transform(Gf.Vec3d(*asset.vertices[0].astype(float).tolist())))
            expected = vertices_world(export_clip(), o, frame)[0] @ turn.T
            np.testing.assert_allclose(corner, expected, atol=1e-5)


def test_pixars_checker_finds_no_fault(tmp_path):
    (path,) = save_usd(tmp_path / "scene.usda", export_clip())
    validation = pytest.importorskip("pxr.UsdValidation")
    checks = validation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(checks) > 5
    faults = validation.ValidationContext(checks).Validate(Usd.Stage.Open(str(path)))
    assert [fault.GetErrorAsString() for fault in faults] == []


def test_without_usd_core_the_remedy_is_named(tmp_path):
    with mock.patch.dict(sys.modules, {"pxr": None}), pytest.raises(UserError, match="pip install"):
        save_usd(tmp_path / "scene.usda", export_clip())
