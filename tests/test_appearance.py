"""The user's object looks like itself: colors of its file in scene.glb, USD, preview, bundle and result."""

import dataclasses
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh
from PIL import Image
from test_bundle import bundle  # noqa: F401
from test_result_schema import tiny_result
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from hoijax.bundle.write import read_bundle, write_bundle
from hoijax.exporters.clip import Clip
from hoijax.exporters.gltf import save_glb
from hoijax.exporters.mujoco import save_mujoco
from hoijax.exporters.usd import save_usd
from hoijax.exporters.video import clip_meshes
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import compose_rigid, look_at
from hoijax.objects.appearance import checked_appearance
from hoijax.objects.asset import Asset
from hoijax.objects.colored_triangles import colored_triangles
from hoijax.objects.specs import load_objects
from hoijax.rendering.raycast import cast
from hoijax.rendering.shading import shade
from hoijax.results.result import load_result, save_result

RED, BLUE, GREEN = (200, 20, 20), (20, 30, 200), (30, 180, 40)


def textured_obj(folder):
    """A board in the x-z plane (z up) of the file: red for x < 0, blue for x > 0, by its texture."""
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:] = RED, BLUE
    Image.fromarray(pixels).save(folder / "paint.png")
    (folder / "board.mtl").write_text("newmtl paint\nKd 1 1 1\nmap_Kd paint.png\n")
    box = trimesh.creation.box((0.8, 0.04, 0.4))
    lines = ["mtllib board.mtl", "usemtl paint"]
    lines += [f"v {x} {y} {z + 0.2}" for x, y, z in box.vertices]
    lines += [f"vt {x / 0.8 + 0.5} {z / 0.4 + 0.5}" for x, _, z in box.vertices]
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in box.faces]
    (folder / "board.obj").write_text("\n".join(lines) + "\n")
    return folder / "board.obj"


def colored_ply(folder):
    """A cube painted by vertex: red below, blue above."""
    box = trimesh.creation.box((0.4, 0.4, 0.4)).subdivide()
    colors = np.where(box.vertices[:, 1:2] < 0.0, RED, BLUE).astype(np.uint8)
    box.visual = ColorVisuals(box, vertex_colors=colors)
    box.export(folder / "cube.ply")
    return folder / "cube.ply"


def two_materials(folder):
    """A glb of two boxes below moved nodes, red at the left and green at the right."""
    scene = trimesh.Scene()
    for name, x, color in (("left", -0.3, RED), ("right", 0.3, GREEN)):
        box = trimesh.creation.box((0.2, 0.2, 0.2))
        linear = np.append(np.round(255 * (np.array(color) / 255) ** 2.2), 255).astype(np.uint8)
        material = PBRMaterial(baseColorFactor=linear, metallicFactor=0.0)
        box.visual = TextureVisuals(uv=np.zeros((len(box.vertices), 2)), material=material)
        turn = trimesh.transformations.rotation_matrix(0.5, [0, 1, 0], [0, 0, 0])
        turn[0, 3] = x
        scene.add_geometry(box, geom_name=name, transform=turn)
    scene.export(folder / "pair.glb")
    return folder / "pair.glb"


def loaded(path, **options) -> Asset:
    (asset,) = load_objects([path], **options)
    assert asset.appearance is not None
    return asset


def color_at(asset: Asset, point) -> np.ndarray:
    """8-bit sRGB of the colored triangle nearest to a point, by 2.2."""
    assert asset.appearance is not None
    vertices, faces, colors = colored_triangles(asset.appearance)
    nearest = np.linalg.norm(vertices[faces].mean(axis=1) - point, axis=1).argmin()
    return 255 * colors[nearest] ** (1 / 2.2)


def still_clip(asset: Asset) -> Clip:
    return Clip(8.0, (), (asset,), np.tile(compose_rigid(np.eye(3), np.zeros(3)), (1, 2, 1, 1)))


CASES = {
    "texture": (textured_obj, {"up": "z"}, [((-0.3, 0.2, 0.0), RED), ((0.3, 0.2, 0.0), BLUE)]),
    "vertices": (colored_ply, {"up": "y"}, [((0.0, -0.2, 0.0), RED), ((0.0, 0.2, 0.0), BLUE)]),
    "materials": (two_materials, {}, [((-0.3, 0.0, 0.0), RED), ((0.3, 0.0, 0.0), GREEN)]),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    make, options, points = CASES[request.param]
    return loaded(make(tmp_path), **options), points


def test_colors_lie_where_the_file_has_them(case):
    asset, points = case
    vertices = colored_triangles(asset.appearance)[0]
    np.testing.assert_allclose(np.ptp(vertices, axis=0), asset.extents, atol=1e-5)
    for point, color in points:
        np.testing.assert_allclose(color_at(asset, point), color, atol=12)


def test_scene_glb_shows_the_file_under_the_moving_node(case, tmp_path):
    asset, points = case
    clip = still_clip(asset)
    T = clip.Ts_world_object.copy()
    T[0, :, :3, 3] = [1.0, 2.0, 3.0]
    path = save_glb(tmp_path / "scene.glb", dataclasses.replace(clip, Ts_world_object=T))
    scene = trimesh.load_scene(path)
    np.testing.assert_allclose(scene.extents, asset.extents, atol=1e-5)
    np.testing.assert_allclose(
        scene.bounds.mean(axis=0), np.add(asset.center, [1, 2, 3]), atol=1e-5
    )
    shown = dataclasses.replace(asset, appearance=path.read_bytes())
    for point, color in points:
        np.testing.assert_allclose(color_at(shown, np.add(point, [1, 2, 3])), color, atol=12)


def usd_color_at(stage, point) -> np.ndarray:
    """8-bit sRGB that the material bound at a point shows there, by Pixar's own resolution."""
    from pxr import UsdGeom, UsdShade  # pyright: ignore[reportAttributeAccessIssue]

    meshes = [UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]

    def nearest(mesh):
        vertices = np.array(mesh.GetPointsAttr().Get())
        faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
        shares = trimesh.triangles.points_to_barycentric(
            vertices[faces], np.tile(point, (len(faces), 1)), method="cross"
        ).clip(0, 1)
        shares /= shares.sum(1, keepdims=True)
        away = np.linalg.norm((shares[..., None] * vertices[faces]).sum(1) - point, axis=1)
        return away.min(), faces[away.argmin()], shares[away.argmin()]

    mesh = min(meshes, key=lambda mesh: nearest(mesh)[0])
    _, face, shares = nearest(mesh)
    material = UsdShade.MaterialBindingAPI(mesh.GetPrim()).ComputeBoundMaterial()[0]
    surface = material.ComputeSurfaceSource()[0]
    base = surface.GetInput("diffuseColor")
    if not base.HasConnectedSource():
        return 255 * np.array(base.Get()) ** (1 / 2.2)
    shader = UsdShade.Shader(base.GetConnectedSources()[0][0].source.GetPrim())
    if shader.GetIdAttr().Get() == "UsdPrimvarReader_float3":
        name = shader.GetInput("varname").Get()
        table = np.array(UsdGeom.PrimvarsAPI(mesh).GetPrimvar(name).Get())
        return 255 * (shares @ table[face]) ** (1 / 2.2)
    assert shader.GetIdAttr().Get() == "UsdUVTexture"
    u, v = shares @ np.array(UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").Get())[face]
    image = Image.open(shader.GetInput("file").Get().resolvedPath)
    pixel = image.getpixel((int(u * image.width), int((1 - v) * image.height)))
    return np.array(pixel, float) * np.array(shader.GetInput("scale").Get())[:3]


def test_usd_has_the_colors_of_the_file(case, tmp_path):
    pytest.importorskip("pxr")
    from pxr import Usd, UsdValidation  # pyright: ignore[reportAttributeAccessIssue]

    asset, points = case
    path, *textures = save_usd(tmp_path / "scene.usdc", still_clip(asset))
    assert [file.name for file in textures] == (
        ["scene_object_1_1.png"] if b"image/png" in asset.appearance else []
    )
    stage = Usd.Stage.Open(str(path))
    for point, color in points:
        np.testing.assert_allclose(usd_color_at(stage, np.array(point)), color, atol=12)
    checks = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    faults = UsdValidation.ValidationContext(checks).Validate(stage)
    assert [fault.GetErrorAsString() for fault in faults] == []


def test_the_preview_shows_the_texture(tmp_path):
    asset = loaded(textured_obj(tmp_path), up="z")
    camera = PinholeCamera.from_field_of_view(40.0, 96, 64)
    T_world_camera = look_at(np.array([0.0, 0.3, 1.6]), np.array([0.0, 0.2, 0.0]))
    image = shade(cast(clip_meshes(still_clip(asset), 0), camera, T_world_camera)).astype(int)
    red = (image[..., 0] > image[..., 2] + 60).nonzero()[1]
    blue = (image[..., 2] > image[..., 0] + 60).nonzero()[1]
    assert min(len(red), len(blue)) > 150
    assert red.max() <= 48 <= blue.min() + 1


def test_bundles_and_results_keep_the_appearance(tmp_path, bundle):  # noqa: F811
    asset = loaded(two_materials(tmp_path))
    colored = dataclasses.replace(bundle.assets[0], appearance=asset.appearance)
    written = dataclasses.replace(bundle, assets=(colored, *bundle.assets[1:]))
    path = write_bundle(tmp_path / "bundle", written)
    assert [a.appearance for a in read_bundle(path).assets] == [
        asset.appearance,
        *(None for _ in bundle.assets[1:]),
    ]
    result = tiny_result()
    shown = dataclasses.replace(result.assets[0], appearance=asset.appearance)
    (tmp_path / "result").mkdir()
    save_result(
        dataclasses.replace(result, assets=(shown, *result.assets[1:])), tmp_path / "result"
    )
    assert load_result(tmp_path / "result").assets[0].appearance == asset.appearance


def test_a_file_without_colors_has_no_appearance(tmp_path):
    for name in ("plain.obj", "plain.stl", "plain.glb"):
        trimesh.Trimesh(*trimesh_arrays(), process=False).export(tmp_path / name)
        (asset,) = load_objects([tmp_path / name])
        assert asset.appearance is None, name


def test_what_has_no_colors_is_grey_clay(tmp_path):
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom  # pyright: ignore[reportAttributeAccessIssue]

    trimesh.Trimesh(*trimesh_arrays(), process=False).export(tmp_path / "plain.stl")
    (asset,) = load_objects([tmp_path / "plain.stl"], up="z")
    clip = still_clip(asset)
    shown = trimesh.load_scene(save_glb(tmp_path / "scene.glb", clip))
    (mesh,) = shown.geometry.values()
    colors = [np.array(mesh.visual.material.baseColorFactor[:3]) / 255]
    stage = Usd.Stage.Open(str(save_usd(tmp_path / "scene.usdc", clip)[0]))
    node = UsdGeom.Mesh(stage.GetPrimAtPath("/interaction/object_1"))
    colors += [*np.array(node.GetDisplayColorAttr().Get())]
    colors += [*clip_meshes(clip, 0)[0].color]
    save_mujoco(tmp_path, clip)
    (geom,) = (
        g for g in ElementTree.parse(tmp_path / "scene.xml").iter("geom") if "mesh" in g.attrib
    )
    colors += [np.array(geom.attrib["rgba"].split()[:3], float) ** 2.2]
    assert np.ptp(np.array(colors), axis=1).max() < 0.12
    assert np.ptp(np.array(colors), axis=0).max() < 0.01


def trimesh_arrays():
    box = trimesh.creation.box((0.4, 0.5, 0.3))
    return box.vertices, box.faces


def test_textures_outside_the_folder_are_not_read(tmp_path):
    (tmp_path / "inner").mkdir()
    path = textured_obj(tmp_path / "inner")
    (tmp_path / "inner" / "paint.png").rename(tmp_path / "paint.png")
    material = path.with_suffix(".mtl")
    material.write_text(material.read_text().replace("paint.png", "../paint.png"))
    (asset,) = load_objects([path], up="z")
    assert asset.appearance is None or b"PNG" not in asset.appearance


def test_foreign_glbs_are_no_appearance(tmp_path):
    content = two_materials(tmp_path).read_bytes()
    ours = loaded(tmp_path / "pair.glb").appearance
    assert checked_appearance(ours) == ours
    assert checked_appearance(content) is None
    assert checked_appearance(content[:50]) is None
    assert checked_appearance(b"") is None
    assert ours is not None
    length = int.from_bytes(ours[12:16], "little")
    data = json.loads(ours[20 : 20 + length])
    data["accessors"][0]["count"] = 10**9
    text = json.dumps(data).encode().ljust(length)
    assert (
        checked_appearance(ours[:12] + len(text).to_bytes(4, "little") + ours[16:20] + text) is None
    )
