"""FBX and glb are opened by Blender: bones where our joints are, objects where they are, a frame rendered."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from export_scene import FPS, FRAMES, export_clip, vertices_world

from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.errors import UserError
from hoijax.exporters.formats import write_formats
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

needs_blender = pytest.mark.skipif(
    importlib.util.find_spec("bpy") is None, reason="bpy is not installed"
)

READER = """
import json, sys
import bpy
path, frame, fps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = fps
if path.endswith(".fbx"):
    bpy.ops.import_scene.fbx(filepath=path)
else:
    bpy.ops.import_scene.gltf(filepath=path, bone_heuristic="TEMPERANCE")
start = min(action.frame_range[0] for action in bpy.data.actions)
scene.frame_set(round(start) + frame)
found = {"bones": {}, "objects": {}}
for thing in bpy.data.objects:
    if thing.type == "ARMATURE":
        for bone in thing.pose.bones:
            found["bones"][bone.name] = list(thing.matrix_world @ bone.head)
    elif thing.type == "MESH" and len(thing.data.vertices) < 5000:
        corners = [thing.matrix_world @ v.co for v in thing.data.vertices]
        found["objects"][thing.name] = [list(map(min, zip(*corners))), list(map(max, zip(*corners)))]
if len(sys.argv) > 4:
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 32
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (0.5, -5.0, 1.0), (1.57, 0.0, 0.0)
    scene.camera, scene.render.filepath = camera, sys.argv[4]
    scene.world = bpy.data.worlds.new("world")
    bpy.ops.render.render(write_still=True)
print("FOUND" + json.dumps(found))
"""


def opened(path, frame, *more):
    ran = subprocess.run(
        [sys.executable, "-c", READER, str(path), str(frame), str(round(FPS)), *map(str, more)],
        capture_output=True, text=True, check=True, timeout=150,
    )  # fmt: skip
    return json.loads(ran.stdout.split("FOUND")[1].splitlines()[0])


@needs_blender
@pytest.mark.parametrize("kind", ["fbx", "glb"])
def test_blender_finds_joints_and_objects_where_they_are(tmp_path, kind):
    clip, frame = export_clip(), FRAMES - 1
    (path,) = write_formats(clip, tmp_path, [kind])
    picture = (tmp_path / "frame.png",) if kind == "glb" else ()
    found = opened(path, frame, *picture)
    expected = clip.people[0].Ts_world_joint[frame, :, :3, 3] @ Z_UP_FROM_Y_UP.T
    prefix = "" if kind == "fbx" else "person_1_"
    places = np.array([found["bones"][prefix + name] for name in JOINT_NAMES])
    np.testing.assert_allclose(places, expected, atol=2e-3)
    for index, asset in enumerate(clip.assets):
        world = vertices_world(clip, index, frame) @ Z_UP_FROM_Y_UP.T
        low, high = found["objects"][asset.name]
        np.testing.assert_allclose(low, world.min(axis=0), atol=2e-3)
        np.testing.assert_allclose(high, world.max(axis=0), atol=2e-3)
    for image in picture:
        assert image.read_bytes().startswith(b"\x89PNG")


def test_without_blender_the_package_is_named_before_any_file(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    clip = dataclasses.replace(export_clip())
    with pytest.raises(UserError, match="pip install bpy"):
        write_formats(clip, tmp_path, ["glb", "fbx"])
    assert not list(tmp_path.iterdir())
