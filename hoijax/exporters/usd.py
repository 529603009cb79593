"""A result as USD (crate or ASCII): skinned people by UsdSkel, objects as meshes that move.

metersPerUnit = 1, upAxis Y or Z as asked, timeCodesPerSecond = the clip's rate and one time code a
frame, so frame k is at time k. UsdSkel's quaternions are GfQuatf (real, imaginary); objects carry
one 4x4 matrix a frame. Joint frames are those of SMPL-X: aligned with the rest pose's axes. Linear
blend skinning with all weights of the body; pose correctives (SMPL-X) are left out.
"""

# pxr is compiled and has no stubs:
# pyright: reportAttributeAccessIssue=false

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.exporters.clip import PERSON_COLORS, Clip, PersonClip, part_colors, turned_clip
from hoijax.exporters.usd_looks import add_looks, paint
from hoijax.exporters.usd_mesh import add_mesh
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

ROOT = "/interaction"


def require_usd() -> None:
    """Raises UserError unless usd-core is installed."""
    try:
        import pxr  # noqa: F401
    except ImportError as error:
        raise UserError(
            "USD needs the package usd-core: pip install usd-core (or hoijax[export])."
        ) from error


def save_usd(path: str | Path, clip: Clip, *, z_up: bool = False) -> list[Path]:
    """Write a clip as .usdc, .usda or .usd; that file, and beside it the textures it names.

    Raises UserError where usd-core is missing.
    """
    require_usd()
    from pxr import Usd, UsdGeom, UsdSkel

    if z_up:
        clip = turned_clip(clip, Z_UP_FROM_Y_UP)
    path = Path(path)
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z if z_up else UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(clip.fps)
    stage.SetFramesPerSecond(clip.fps)
    stage.SetStartTimeCode(0.0)
    stage.SetEndTimeCode(clip.frame_count - 1.0)
    root = UsdGeom.Xform.Define(stage, ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    for index, person in enumerate(clip.people):
        prim_path = f"{ROOT}/person_{index + 1}"
        UsdSkel.Root.Define(stage, prim_path)
        _add_skeleton(stage, prim_path, person)
        _add_skin(stage, prim_path, person, PERSON_COLORS[index % len(PERSON_COLORS)])
    files = [path]
    for index in range(len(clip.assets)):
        files += _add_object(stage, clip, index)
    stage.GetRootLayer().Save()
    return files


def joint_paths() -> list[str]:
    """UsdSkel's names of the joints: each below its parent, pelvis/left_hip/left_knee ..."""
    paths: list[str] = []
    for name, parent in zip(JOINT_NAMES, JOINT_PARENTS, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def _add_skeleton(stage, prim_path: str, person: PersonClip) -> None:
    """Skeleton in its rest pose and the animation that moves it."""
    from pxr import Gf, UsdSkel, Vt
    from scipy.spatial.transform import Rotation

    rest = np.asarray(person.shaped.joints_rest, np.float64)
    local = rest - np.where(
        np.array(JOINT_PARENTS)[:, None] < 0, 0.0, rest[np.maximum(JOINT_PARENTS, 0)]
    )
    skeleton = UsdSkel.Skeleton.Define(stage, f"{prim_path}/skeleton")
    skeleton.CreateJointsAttr(joint_paths())
    skeleton.CreateBindTransformsAttr(Vt.Matrix4dArray([_moved(joint) for joint in rest]))
    skeleton.CreateRestTransformsAttr(Vt.Matrix4dArray([_moved(joint) for joint in local]))
    animation = UsdSkel.Animation.Define(stage, f"{prim_path}/skeleton/motion")
    animation.CreateJointsAttr(joint_paths())
    ones = np.ones((len(rest), 3), np.float32)
    animation.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(ones.astype(np.float16)))
    translations, rotations = (
        animation.CreateTranslationsAttr(),
        animation.CreateRotationsAttr(),
    )
    for frame, vectors in enumerate(person.joint_rotations.astype(np.float64)):
        places = local.astype(np.float32)
        places[0] = rest[0] + person.translations[frame]
        translations.Set(Vt.Vec3fArray.FromNumpy(places), frame)
        quaternions = Rotation.from_rotvec(vectors).as_quat(scalar_first=True).tolist()
        rotations.Set(Vt.QuatfArray([Gf.Quatf(*wxyz) for wxyz in quaternions]), frame)
    binding = UsdSkel.BindingAPI.Apply(skeleton.GetPrim())
    binding.CreateAnimationSourceRel().SetTargets([animation.GetPath()])


def _add_skin(stage, prim_path: str, person: PersonClip, color: tuple[float, ...]) -> None:
    from pxr import Gf, UsdSkel

    shaped = person.shaped
    mesh = add_mesh(
        stage, f"{prim_path}/skin", np.asarray(shaped.vertices_rest), np.asarray(shaped.faces)
    )
    mesh.CreateDisplayColorAttr([Gf.Vec3f(*color)])
    paint(mesh, f"{prim_path}/skin_material")
    indices, weights = np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights, np.float64)
    weights = weights / weights.sum(-1, keepdims=True)
    count = indices.shape[1]
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([f"{prim_path}/skeleton"])
    binding.CreateJointIndicesPrimvar(False, count).Set(indices.astype(np.int32).ravel())
    binding.CreateJointWeightsPrimvar(False, count).Set(weights.astype(np.float32).ravel())
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))


def _add_object(stage, clip: Clip, index: int) -> list[Path]:
    """An object in its own frame, moving; texture files that it brings.

    Its name in the graph is the display name. What its file shows is below an Xform; without that it
    is one mesh with a shade for every part.
    """
    from pxr import Gf, UsdGeom, Vt

    asset = clip.assets[index]
    prim_path = f"{ROOT}/object_{index + 1}"
    files: list[Path] = []
    if asset.appearance is None:
        node = add_mesh(stage, prim_path, asset.vertices, asset.faces)
        primvar = node.CreateDisplayColorPrimvar(UsdGeom.Tokens.uniform)
        colors = part_colors(asset, index)[asset.face_parts]
        primvar.Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(colors)))
        paint(node, f"{ROOT}/object_{index + 1}_material")
    else:
        node = UsdGeom.Xform.Define(stage, prim_path)
        files = add_looks(stage, prim_path, asset.appearance)
    node.GetPrim().SetDisplayName(asset.name)
    op = node.AddTransformOp()
    for frame, T in enumerate(clip.Ts_world_object[index].astype(np.float64)):
        op.Set(Gf.Matrix4d(T.T.tolist()), frame)  # USD multiplies rows
    return files


def _moved(translation: Float[ndarray, "3"]):
    from pxr import Gf

    return Gf.Matrix4d(1.0).SetTranslate(Gf.Vec3d(*translation.tolist()))
