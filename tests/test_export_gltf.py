"""The GLB is read back and re-skinned in plain numpy, as a viewer would, and must give the posed mesh."""

import dataclasses

import numpy as np
import pytest
from pygltflib import GLTF2
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.bodies.skinned_body import JOINT_NAMES
from hoijax.exporters.clip import Clip, make_person
from hoijax.exporters.gltf import save_glb
from hoijax.exporters.influences import fitted_influences, strongest_influences
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.asset import load_asset

FRAMES, FPS = 7, 8.0
DTYPES = {5121: np.uint8, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def clip() -> Clip:
    rng = np.random.default_rng(0)
    rotations = rng.normal(0, 0.3, (2, FRAMES, 55, 3)).astype(np.float32)
    rotations[:, :, 25:] = 0.1  # still fingers
    rotations[0, :, 0, 1] = np.linspace(2.0, 4.5, FRAMES)  # a turn across pi
    translations = rng.normal(0, 0.5, (2, FRAMES, 3)).astype(np.float32)
    body, betas = load_anny(), np.zeros(10, np.float32)
    people = tuple(make_person(body, rotations[p], translations[p], betas) for p in range(2))
    turn = Rotation.from_rotvec(rng.normal(0, 1, (FRAMES, 3))).as_matrix()
    moving = compose_rigid(turn, rng.normal(0, 1, (FRAMES, 3)))
    still = np.tile(compose_rigid(turn[:1], np.ones((1, 3))), (FRAMES, 1, 1))
    assets = load_asset("barbell"), load_asset("chair")
    return Clip(FPS, people, assets, np.stack([moving, still]))


@pytest.fixture(scope="module")
def read(clip, tmp_path_factory):
    path = save_glb(tmp_path_factory.mktemp("glb") / "scene.glb", clip)
    gltf = GLTF2().load(path)
    assert gltf is not None
    return gltf


def array(gltf, index: int) -> np.ndarray:
    accessor = gltf.accessors[index]
    view = gltf.bufferViews[accessor.bufferView]
    width, dtype = WIDTHS[accessor.type], DTYPES[accessor.componentType]
    blob = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.frombuffer(blob, dtype).reshape(accessor.count, width)


def local_transforms(gltf, frame: int) -> np.ndarray:
    """(nodes, 4, 4) at a frame of the animation."""
    rotation = [node.rotation or [0, 0, 0, 1] for node in gltf.nodes]
    translation = [node.translation or [0, 0, 0] for node in gltf.nodes]
    for channel in gltf.animations[0].channels:
        sampler = gltf.animations[0].samplers[channel.sampler]
        values = array(gltf, sampler.output)[frame]
        {"rotation": rotation, "translation": translation}[channel.target.path][
            channel.target.node
        ] = values
    matrices = Rotation.from_quat(np.array(rotation, np.float64)).as_matrix()
    return compose_rigid(matrices, np.array(translation, np.float64)).astype(np.float64)


def world_transforms(gltf, frame: int) -> np.ndarray:
    local = local_transforms(gltf, frame)
    world = np.full_like(local, np.nan)

    def visit(node: int, parent: np.ndarray) -> None:
        world[node] = parent @ local[node]
        for child in gltf.nodes[node].children or []:
            visit(child, world[node])

    for root in gltf.scenes[0].nodes:
        visit(root, np.eye(4))
    assert np.isfinite(world).all()  # every node hangs in the scene
    return world


def skinned_vertices(gltf, node: int, frame: int) -> np.ndarray:
    skin = gltf.skins[gltf.nodes[node].skin]
    attributes = gltf.meshes[gltf.nodes[node].mesh].primitives[0].attributes
    inverse_bind = array(gltf, skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
    palette = world_transforms(gltf, frame)[skin.joints] @ inverse_bind
    joints, weights = array(gltf, attributes.JOINTS_0), array(gltf, attributes.WEIGHTS_0)
    blended = (weights[..., None, None] * palette[joints]).sum(1)
    points = array(gltf, attributes.POSITION)
    return np.einsum("vab,vb->va", blended[:, :3, :3], points) + blended[:, :3, 3]


def test_reskinning_gives_the_posed_people(clip, read):
    for p, person in enumerate(clip.people):
        node = next(i for i, n in enumerate(read.nodes) if n.name == f"person_{p + 1}")
        for frame in (0, 3, FRAMES - 1):
            found = skinned_vertices(read, node, frame)
            distance = np.linalg.norm(found - person.vertices_world[frame], axis=-1)
            assert np.quantile(distance, 0.99) < 4e-3  # four influences instead of all
            assert distance.max() < 0.02


def test_every_skeleton_hangs_on_a_node_of_its_own(read):
    """Blender makes one armature of all joints whose skeletons have the same parent."""
    parents = {child: i for i, node in enumerate(read.nodes) for child in node.children or []}
    above = [parents.get(skin.skeleton) for skin in read.skins]
    assert None not in above
    assert len(set(above)) == len(read.skins) > 1


def test_joints_of_the_file_are_the_joints_of_the_body(clip, read):
    world = world_transforms(read, 4)
    person = clip.people[1]
    expected = np.asarray(
        person.shaped.pose_joints(person.joint_rotations[4], person.translations[4])
    )
    joints = read.skins[1].joints
    np.testing.assert_allclose(world[joints], expected, atol=1e-5)
    assert [read.nodes[j].name for j in joints] == [f"person_2_{name}" for name in JOINT_NAMES]


def test_objects_move_as_in_the_clip(clip, read):
    for o, asset in enumerate(clip.assets):
        node = next(i for i, n in enumerate(read.nodes) if n.name == asset.name)
        for frame in (0, 5):
            T = world_transforms(read, frame)[node]
            np.testing.assert_allclose(T, clip.Ts_world_object[o, frame], atol=1e-5)
        triangles = []
        for primitive in read.meshes[read.nodes[node].mesh].primitives:
            points = array(read, primitive.attributes.POSITION)
            normals = array(read, primitive.attributes.NORMAL)
            np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-4)
            triangles.append(points[array(read, primitive.indices).reshape(-1, 3)])
        found = np.sort(np.concatenate(triangles).sum((1, 2)))
        expected = np.sort(asset.vertices[asset.faces].sum((1, 2)))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    names = {material.name for material in read.materials}
    assert {"barbell_bar", "barbell_weights", "chair_seat", "person_1"} <= names


def test_it_plays_at_the_true_rate_and_still_things_have_no_channels(read):
    animation = read.animations[0]
    times = array(read, animation.samplers[0].input)[:, 0]
    np.testing.assert_allclose(times, np.arange(FRAMES) / FPS)
    moved = {read.nodes[c.target.node].name for c in animation.channels}
    assert "barbell" in moved
    assert "chair" not in moved
    assert "person_1_left_index1" not in moved
    assert "person_1_left_elbow" in moved
    for channel in animation.channels:
        if channel.target.path == "rotation":
            quaternions = array(read, animation.samplers[channel.sampler].output)
            assert ((quaternions[1:] * quaternions[:-1]).sum(-1) > 0).all()


def test_every_accessor_is_aligned_and_in_bounds(read):
    size = len(read.binary_blob())
    assert read.buffers[0].byteLength <= size
    for accessor in read.accessors:
        view = read.bufferViews[accessor.bufferView]
        itemsize = np.dtype(DTYPES[accessor.componentType]).itemsize
        assert view.byteOffset % 4 == 0
        assert view.byteLength == accessor.count * WIDTHS[accessor.type] * itemsize
        assert view.byteOffset + view.byteLength <= size
    for mesh in read.meshes:
        for primitive in mesh.primitives:
            count = read.accessors[primitive.attributes.POSITION].count
            assert array(read, primitive.indices).max() < count
            accessor = read.accessors[primitive.attributes.POSITION]
            np.testing.assert_allclose(
                accessor.max, array(read, primitive.attributes.POSITION).max(0)
            )


def test_trimesh_reads_it_with_the_right_size(clip, tmp_path):
    import trimesh

    only = dataclasses.replace(clip, people=(), assets=clip.assets[1:])
    only = dataclasses.replace(only, Ts_world_object=clip.Ts_world_object[1:])
    scene = trimesh.load_scene(save_glb(tmp_path / "chair.glb", only))
    T = clip.Ts_world_object[1, 0]
    world = clip.assets[1].vertices @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(scene.bounds, [world.min(0), world.max(0)], atol=1e-4)


def test_strongest_influences_keep_the_largest_weights():
    indices = np.array([[3, 5, 7, 9, 11]], np.int32)
    weights = np.array([[0.1, 0.4, 0.05, 0.25, 0.2]], np.float32)
    joints, kept = strongest_influences(indices, weights)
    assert joints.tolist() == [[5, 9, 11, 3]]
    np.testing.assert_allclose(kept, np.array([[0.4, 0.25, 0.2, 0.1]]) / 0.95, rtol=1e-6)
    joints, kept = strongest_influences(indices[:, :2], np.array([[1.0, 0.0]], np.float32))
    assert joints.tolist() == [[3, 0, 0, 0]]
    assert kept.tolist() == [[1, 0, 0, 0]]


def test_four_joints_pose_the_skin_better_than_the_strongest_four():
    """Arms overhead: at chest and armpit the strongest four are off by a centimetre."""
    frames = 6
    rotations = np.zeros((frames, 55, 3), np.float32)
    raised = np.linspace(0.0, 1.3, frames)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        rotations[:, JOINT_NAMES.index(f"{side}_shoulder"), 2] = sign * raised
        rotations[:, JOINT_NAMES.index(f"{side}_collar"), 2] = sign * 0.3 * raised
    rotations[:, JOINT_NAMES.index("spine2"), 0] = -0.3 * raised
    person = make_person(
        load_anny(), rotations, np.zeros((frames, 3), np.float32), np.zeros(10, np.float32)
    )
    shaped = person.shaped
    rest, joints = np.asarray(shaped.vertices_rest), np.asarray(shaped.joints_rest)

    def worst(indices, weights):
        Ts = person.Ts_world_joint[:, indices]
        local = rest[:, None] - joints[indices]
        moved = np.einsum("fvkij,vkj->fvki", Ts[..., :3, :3], local) + Ts[..., :3, 3]
        skin = (weights[..., None] * moved).sum(axis=2)
        return np.linalg.norm(skin - person.vertices_world, axis=-1).max()

    plain = strongest_influences(np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights))
    fitted = fitted_influences(person)
    np.testing.assert_allclose(fitted[1].sum(axis=1), 1.0, atol=1e-5)
    assert fitted[1].min() >= 0.0
    assert worst(*plain) > 0.004
    assert worst(*fitted) < 0.5 * worst(*plain)
