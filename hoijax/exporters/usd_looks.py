"""An object's own looks in USD: its meshes with materials, textures as files beside the stage.

Every material is a UsdPreviewSurface, which all viewers know. Its base color is a texture, one color, or
the mesh's vertex colors; displayColor says nearly the same to viewers that show no materials.
"""

# pxr is compiled and has no stubs:
# pyright: reportAttributeAccessIssue=false

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.exporters.usd_mesh import add_mesh
from hoijax.objects.colored_triangles import PLAIN, base_color, linear_rgb, shown_meshes

ROUGHNESS = 0.75


def add_looks(stage: Any, prim_path: str, appearance: bytes) -> list[Path]:
    """The meshes of an appearance below the prim at `prim_path`; texture files that were written."""
    from pxr import UsdShade

    textures = _TextureFiles(Path(stage.GetRootLayer().realPath))
    for number, source in enumerate(shown_meshes(appearance), start=1):
        vertices, faces = np.asarray(source.vertices), np.asarray(source.faces)
        mesh = add_mesh(stage, f"{prim_path}/mesh_{number}", vertices, faces)
        mesh.CreateDoubleSidedAttr(True)
        material = UsdShade.Material.Define(stage, f"{prim_path}/material_{number}")
        _dress(mesh, material, source.visual, textures, prim_path.rsplit("/", 1)[-1])
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    return textures.written


def paint(mesh: Any, prim_path: str) -> None:
    """Give a mesh that has displayColor a material that shows it."""
    from pxr import Sdf, UsdShade

    material = UsdShade.Material.Define(mesh.GetPrim().GetStage(), prim_path)
    base = _surface(material).CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    colors = mesh.GetDisplayColorAttr().Get()
    if len(colors) == 1:
        base.Set(colors[0])
    else:
        base.ConnectToSource(_reader(material, "float3", "displayColor"), "result")
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


class _TextureFiles:
    """Textures as PNG files beside a stage, each written once."""

    def __init__(self, stage_path: Path) -> None:
        self.stage_path = stage_path
        self.written: list[Path] = []
        self._names: dict[bytes, str] = {}

    def add(self, image: Any, name: str) -> str:
        """The path of an image's file, relative to the stage."""
        pixels = image.convert("RGB").tobytes()
        if pixels not in self._names:
            path = self.stage_path.with_name(
                f"{self.stage_path.stem}_{name}_{len(self.written) + 1}.png"
            )
            image.convert("RGB").save(path)
            self.written.append(path)
            self._names[pixels] = f"./{path.name}"
        return self._names[pixels]


def _dress(mesh: Any, material: Any, visual: Any, textures: _TextureFiles, name: str) -> None:
    """Give a mesh displayColor and, where needed, st; give its material a surface that shows them."""
    from pxr import Gf, Sdf, UsdGeom, Vt
    from trimesh.visual import ColorVisuals

    pbr = None if isinstance(visual, ColorVisuals) else visual.material
    tint = _tint(pbr)
    surface = _surface(material, pbr)
    base = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    image = getattr(pbr, "baseColorTexture", None)
    if image is not None and visual.uv is not None:
        st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
        )
        uv = np.nan_to_num(np.asarray(visual.uv, np.float32))
        st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(uv)))
        mean = linear_rgb(np.asarray(image.convert("RGB"))).mean(axis=(0, 1))
        mesh.CreateDisplayColorAttr([Gf.Vec3f(*(tint * mean).tolist())])
        base.ConnectToSource(_texture(material, textures.add(image, name), tint), "rgb")
    elif isinstance(visual, ColorVisuals) and visual.kind is not None:
        colors = np.asarray(visual.vertex_colors, np.float32)[:, :3] / 255.0
        primvar = mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
        primvar.Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(colors)))
        base.ConnectToSource(_reader(material, "float3", "displayColor"), "result")
    else:
        mesh.CreateDisplayColorAttr([Gf.Vec3f(*tint.tolist())])
        base.Set(Gf.Vec3f(*tint.tolist()))


def _surface(material: Any, pbr: Any = None) -> Any:
    """The surface shader of a material, as rough, metallic and clear as glTF's numbers say."""
    from pxr import Sdf, UsdShade

    prim_path = f"{material.GetPath()}/surface"
    surface = UsdShade.Shader.Define(material.GetPrim().GetStage(), prim_path)
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    has_map = getattr(pbr, "metallicRoughnessTexture", None) is not None
    rough, metallic = (
        None if has_map else getattr(pbr, key, None)
        for key in ("roughnessFactor", "metallicFactor")
    )
    values = {
        "roughness": ROUGHNESS if rough is None else float(rough),
        "metallic": 0.0 if metallic is None else float(metallic),
    }
    factor = getattr(pbr, "baseColorFactor", None)
    if getattr(pbr, "alphaMode", None) == "BLEND" and factor is not None:
        values["opacity"] = float(factor[3]) / 255.0
    for key, value in values.items():
        surface.CreateInput(key, Sdf.ValueTypeNames.Float).Set(value)
    return surface


def _tint(pbr: Any) -> Float[ndarray, "3"]:
    """Linear base color of a material, grey where there is none."""
    return np.full(3, PLAIN) if pbr is None else base_color(pbr)


def _texture(material: Any, file: str, tint: Float[ndarray, "3"]) -> Any:
    """A shader that looks up `file` at st, times `tint`."""
    from pxr import Gf, Sdf, UsdShade

    shader = UsdShade.Shader.Define(
        material.GetPrim().GetStage(), f"{material.GetPath()}/base_color"
    )
    shader.CreateIdAttr("UsdUVTexture")
    shader.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(file))
    shader.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
    for key in ("wrapS", "wrapT"):
        shader.CreateInput(key, Sdf.ValueTypeNames.Token).Set("repeat")
    scale = Gf.Vec4f(*tint.tolist(), 1.0)
    shader.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(scale)
    st = shader.CreateInput("st", Sdf.ValueTypeNames.Float2)
    st.ConnectToSource(_reader(material, "float2", "st"), "result")
    shader.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    return shader.ConnectableAPI()


def _reader(material: Any, kind: str, primvar: str) -> Any:
    """A shader that reads a primvar of the mesh."""
    from pxr import Sdf, UsdShade

    shader = UsdShade.Shader.Define(
        material.GetPrim().GetStage(), f"{material.GetPath()}/{primvar}"
    )
    shader.CreateIdAttr(f"UsdPrimvarReader_{kind}")
    shader.CreateInput("varname", Sdf.ValueTypeNames.String).Set(primvar)
    shader.CreateOutput(
        "result", {"float2": Sdf.ValueTypeNames.Float2, "float3": Sdf.ValueTypeNames.Float3}[kind]
    )
    return shader.ConnectableAPI()
