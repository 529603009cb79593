"""FBX through Blender's Python package: skinned people with SMPL-X bone names, textured objects that move.

Our glb is opened and saved again by Blender, in a process of its own: `bpy` is one program with one state.
Y up and centimetres inside the file, as Maya, Unreal and Unity expect it; importers turn both back.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from hoijax.errors import UserError
from hoijax.exporters.clip import Clip
from hoijax.exporters.gltf import save_glb
from hoijax.exporters.options import ExportOptions

FORMAT = "fbx"
TIME_LIMIT = 600
"""Seconds."""

_SCRIPT = """
import re, sys
import bpy
glb, fbx, fps = sys.argv[1], sys.argv[2], float(sys.argv[3])
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps, scene.render.fps_base = round(fps) or 1, (round(fps) or 1) / fps
bpy.ops.import_scene.gltf(filepath=glb, bone_heuristic="TEMPERANCE")
last = 0.0
for action in bpy.data.actions:
    last = max(last, action.frame_range[1])
scene.frame_start, scene.frame_end = 0, round(last)
for node in list(bpy.data.objects):
    if node.type == "ARMATURE":
        for bone in node.data.bones:
            bone.name = re.sub(r"^person_[0-9]+_", "", bone.name)
    parent = node.parent
    is_held = parent is not None and parent.type == "ARMATURE"
    if is_held and not any(m.type == "ARMATURE" for m in node.modifiers):
        node.parent = None  # animation of what is below an armature is not written
bpy.ops.export_scene.fbx(
    filepath=fbx, object_types={"ARMATURE", "MESH", "EMPTY"}, add_leaf_bones=False, bake_anim=True,
    bake_anim_use_all_actions=False, bake_anim_use_nla_strips=False, bake_anim_simplify_factor=0.0,
    path_mode="COPY", embed_textures=True,
)
"""


def require_blender() -> None:
    """Raises UserError unless bpy is installed."""
    if importlib.util.find_spec("bpy") is None:
        raise UserError(
            "fbx is written by Blender's package bpy: pip install bpy (or hoijax[blender]); it needs the "
            "Python version that its page names."
        )


def save_fbx(path: str | Path, clip: Clip) -> Path:
    """Write a clip as binary FBX at its frame rate. Raises UserError where bpy is missing or fails."""
    require_blender()
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        glb = save_glb(Path(folder) / "scene.glb", clip)
        arguments = [str(glb), str(path.absolute()), repr(float(clip.fps))]
        try:
            ran = subprocess.run(
                [sys.executable, "-c", _SCRIPT, *arguments],
                capture_output=True,
                text=True,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{path}: Blender took more than {TIME_LIMIT} s; nothing written."
            ) from error
    if ran.returncode != 0 or not path.is_file():
        lines = [line for line in ran.stderr.strip().splitlines() if line.strip()]
        raise UserError(
            f"{path}: Blender could not write it: {lines[-1] if lines else 'no reason given'}"
        )
    return path


def write(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    """scene.fbx of everything."""
    return [save_fbx(folder / "scene.fbx", options.resampled(clip))]
