"""Our body on the surface of another: a mesh that is not ours, and SAM 3D Body's real one."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from hoijax.bodies.anny import load_anny
from hoijax.bodies.fitting.mesh_fit import MeshFit, fit_to_mesh, surface_error
from hoijax.bodies.low_poly import low_poly
from hoijax.errors import UserError
from hoijax.importers.body_meshes import read_body_meshes

PHOTO = Path(__file__).parents[1].parent / "shared/data/video/photo"


def stranger() -> tuple[np.ndarray, np.ndarray, MeshFit]:
    """(vertices, faces, the ground truth) of somebody with other betas, bones and mesh, posed."""
    body, rng = load_anny(), np.random.default_rng(0)
    betas = rng.normal(0, 0.7, 10).astype(np.float32)
    shaped = body.shape(jnp.asarray(betas))
    rest = np.asarray(shaped.joints_rest) * np.array([1.0, 1.04, 1.0], np.float32)
    rotations = np.zeros((55, 3), np.float32)
    rotations[:22] = rng.normal(0, 0.25, (22, 3))
    posed = shaped.with_rest_joints(jnp.asarray(rest)).pose(jnp.asarray(rotations), jnp.zeros(3))
    vertices = np.asarray(posed.vertices_world, np.float64) + np.array([0, 0, 3])
    chosen, faces = low_poly(np.asarray(body.template), np.asarray(body.faces), 0.025)
    return vertices[chosen], faces, MeshFit(betas, rest, rotations, np.array([0, 0, 3], np.float32))


@pytest.mark.slow
def test_another_body_is_met_within_a_centimetre():
    body, rng = load_anny(), np.random.default_rng(1)
    vertices, faces, truth = stranger()
    turned = truth.rotations.copy()
    turned[:22] += rng.normal(0, 0.12, (22, 3)).astype(np.float32)
    rest = np.asarray(body.joints_template, np.float32)
    place = truth.rest_joints[0] + truth.translation - rest[0] + np.float32(0.02)
    start = MeshFit(np.zeros(10, np.float32), rest, turned, place.astype(np.float32))
    before = surface_error(body, start, vertices).mean()
    found = fit_to_mesh(body, vertices, faces, start)
    error = surface_error(body, found, vertices)
    assert before > 0.02
    assert error.mean() < 0.01
    assert np.percentile(error, 95) < 0.03


@pytest.mark.parametrize("layout", ["plys", "npz"])
def test_mesh_files_read_back(tmp_path, layout):
    """Plys as SAM 3D Body's notebook saves them (looking along -z), and its arrays (along z)."""
    vertices, faces, _ = stranger()
    if layout == "npz":
        there = np.array([[0.1, 0, 2], [0.2, 0, 2]])
        np.savez(
            tmp_path / "a.npz",
            pred_vertices=vertices - there[:, None],
            pred_cam_t=there,
            faces=faces,
        )
        path = tmp_path / "a.npz"
    else:
        for frame in range(2):
            mesh = trimesh.Trimesh(vertices * [1, -1, -1], faces, process=False)
            mesh.export(tmp_path / f"clip_mesh_{frame:03d}.ply")
        (tmp_path / "clip_focal_length.json").write_text(json.dumps({"focal_length": 500.0}))
        path = tmp_path
    found = read_body_meshes(path)
    assert found.flipped == (layout == "plys")
    np.testing.assert_allclose(found.vertices, np.tile(vertices, (2, 1, 1)), atol=1e-5)
    if layout == "plys":
        assert found.intrinsics is not None
        assert found.intrinsics.at(640, 480)[0, 0, 0] == 500


def test_meshes_that_no_camera_sees_are_refused(tmp_path):
    vertices, faces, _ = stranger()
    for scaled, says in ((vertices - [0, 0, 3], "before"), (vertices * 1000, "metres")):
        np.savez(tmp_path / "a.npz", vertices=scaled, faces=faces)
        with pytest.raises(UserError, match=says):
            read_body_meshes(tmp_path / "a.npz")


@pytest.mark.slow
@pytest.mark.skipif(not PHOTO.is_dir(), reason="the photograph is not here")
@pytest.mark.thorough
def test_the_real_mesh_of_sam_3d_body_is_met_within_a_centimetre():
    """By the packaged keypoints of the photograph, from the file to the motion."""
    pytest.importorskip("ai_edge_litert")
    from packaged_weights import problem
    from PIL import Image

    from hoijax.io.video import Video
    from priors.models.blazepose import BlazePose
    from priors.models.body_from_meshes import FileMeshes
    from priors.protocols import PointMaps

    if problem():
        pytest.skip("the packaged models are not here")
    meshes = read_body_meshes(PHOTO / "human.ply")
    assert (meshes.flipped, meshes.vertices.shape) == (True, (1, 18439, 3))
    assert meshes.intrinsics is not None
    image = np.asarray(Image.open(PHOTO / "image.png").convert("RGB"))[None]
    mask = np.asarray(Image.open(PHOTO / "person_mask.png"))[None] > 127
    rows, columns = np.nonzero(mask[0])
    box = np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], np.float32)
    keypoints = BlazePose().keypoints(image, box, np.ones(1, bool))
    camera = meshes.intrinsics.at(image.shape[2], image.shape[1])
    source = FileMeshes(meshes)
    maps = PointMaps.unknown(camera, *image.shape[1:3])
    found = source.recover(Video(image, 30.0), keypoints, mask, maps)
    there = MeshFit(found.betas, found.rest_joints, found.rotations[0], found.translations[0])
    world = (
        meshes.vertices[0] @ found.Ts_world_camera[0, :3, :3].T + found.Ts_world_camera[0, :3, 3]
    )
    error = surface_error(load_anny(), there, world)
    assert error.mean() < 0.01
    assert abs(world[:, 1].min()) < 0.05
