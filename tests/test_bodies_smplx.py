"""SMPL-X and SMPL-H files: against the body-models package on made files, and every refusal."""

import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.bodies import JOINT_NAMES, load_body, load_smplx
from hoijax.bodies.kinematics import JOINT_PARENTS, SMPLH_JOINTS
from hoijax.errors import UserError

ROOT = np.uint32(2**32 - 1)  # how real files write "no parent"


def made_model(joints: int, rng, vertices: int = 60) -> dict[str, np.ndarray]:
    """A random model with the real keys and layouts: float64, pickled joint table, dense weights."""
    targets = list(range(55)) if joints == 55 else list(SMPLH_JOINTS)
    parents = [ROOT, *(targets.index(JOINT_PARENTS[t]) for t in targets[1:])]
    weights = rng.random((vertices, joints)) * (rng.random((vertices, joints)) < 0.1)
    weights[np.arange(vertices), rng.integers(0, joints, vertices)] += 0.5
    regressor = rng.random((joints, vertices))
    names = {JOINT_NAMES[t]: i for i, t in enumerate(targets)}
    return {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": rng.normal(size=(vertices, 3, 400 if joints == 55 else 16)) * 0.1,
        "posedirs": rng.normal(size=(vertices, 3, 9 * (joints - 1))) * 0.01,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.array([parents, range(joints)], np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "f": rng.integers(0, vertices, (40, 3)).astype(np.uint32),
        "hands_meanl": rng.normal(size=45) * 0.1,
        "hands_meanr": rng.normal(size=45) * 0.1,
        "joint2num": np.array(names, dtype=object),
    }


def save(path, model, **changes):
    kept = {k: v for k, v in (model | changes).items() if v is not None}
    np.savez(path, **kept)
    return path


def reference(kind: str, path, rotations, translation, betas):
    """Vertices and joints of the body-models package (numpy backend), hands flat at zero rotation."""
    if kind == "smplx":
        from body_models.smplx.numpy import SMPLX as Model
    else:
        from body_models.smplh.numpy import SMPLH as Model
    model = Model(model_path=path, flat_hand_mean=True)
    shape = np.zeros((1, model.NUM_SHAPE_COEFFS), np.float32)
    shape[0, : len(betas)] = betas
    pose = {
        "body_pose": rotations[None, 1:22],
        "hand_pose": rotations[None, 25:],
        "pelvis_rotation": rotations[None, 0],
        "shape": shape,
        "global_translation": translation[None],
    }
    if kind == "smplx":
        pose["head_pose"] = rotations[None, 22:25]
        pose["expression"] = np.zeros((1, model.NUM_EXPR_COEFFS), np.float32)
    vertices = model.forward_vertices(**pose)
    transforms = model.forward_skeleton(**pose)
    return np.asarray(vertices)[0], np.asarray(transforms)[0]


@pytest.mark.parametrize(("kind", "joints"), [("smplx", 55), ("smplh", 52)])
def test_made_file_poses_as_in_body_models(kind, joints, tmp_path, rng):
    pytest.importorskip("body_models")
    path = save(tmp_path / f"{kind}.npz", made_model(joints, rng))
    body = load_body(str(path))
    betas = rng.normal(size=10).astype(np.float32)
    rotations = (rng.normal(size=(55, 3)) * 0.5).astype(np.float32)
    if joints == 52:
        rotations[22:25] = 0.0
    translation = rng.normal(size=3).astype(np.float32)
    posed = body.shape(jnp.asarray(betas)).pose(rotations, translation)
    vertices, transforms = reference(kind, path, rotations, translation, betas)
    np.testing.assert_allclose(posed.vertices_world, vertices, atol=3e-5)
    here = np.asarray(posed.Ts_world_joint)[list(SMPLH_JOINTS) if joints == 52 else slice(None)]
    np.testing.assert_allclose(here, transforms, atol=3e-5)


def test_missing_joints_of_smplh_sit_on_the_head(tmp_path, rng):
    body = load_smplx(save(tmp_path / "smplh.npz", made_model(52, rng)))
    head = body.joints_template[JOINT_NAMES.index("head")]
    np.testing.assert_allclose(body.joints_template[22:25], np.tile(head, (3, 1)))
    assert not np.isin(body.skin_indices[body.skin_weights > 0], (22, 23, 24)).any()


def test_number_of_betas(tmp_path, rng):
    path = save(tmp_path / "smplx.npz", made_model(55, rng))
    assert load_smplx(path, betas=16).shape_directions.shape[-1] == 16


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        load_body(str(path))
    return str(error.value)


def test_missing_file_says_where_and_how(tmp_path):
    message = refused(tmp_path / "nowhere" / "SMPLX_NEUTRAL.npz")
    assert str(tmp_path / "nowhere") in message
    assert "smpl-x.is.tue.mpg.de" in message
    assert "'anny'" in message


def test_pickles_and_garbage_are_refused(tmp_path, rng):
    pickle = tmp_path / "SMPLX_NEUTRAL.pkl"
    pickle.write_bytes(b"\x80\x04.")
    assert "never read" in refused(pickle)
    garbage = tmp_path / "garbage.npz"
    garbage.write_bytes(b"not a zip")
    assert "not a readable npz" in refused(garbage)
    whole = save(tmp_path / "whole.npz", made_model(55, rng)).read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "not a readable npz" in refused(cut)
    objects = save(
        tmp_path / "objects.npz",
        made_model(55, rng),
        J_regressor=np.array({"sparse": 1}, dtype=object),
    )
    assert "'J_regressor': expected plain numbers, found pickled Python objects" in refused(objects)


def test_every_problem_is_named_at_once(tmp_path, rng):
    model = made_model(55, rng)
    message = refused(save(tmp_path / "keys.npz", model, weights=None, posedirs=None))
    assert "'weights': is missing" in message
    assert "'posedirs': is missing" in message
    message = refused(
        save(tmp_path / "shapes.npz", model, weights=model["weights"][:, :50], f=model["f"][:, :2])
    )
    assert (
        "'weights': expected shape (V, J) with J = 55 (as in J_regressor), found (60, 50)"
        in message
    )
    assert "'f': expected shape (F, 3), found" in message
    broken = model["v_template"].copy()
    broken[3, 1] = np.nan
    weights = model["weights"].copy()
    weights[0, :2] = -0.5, 1.5
    message = refused(
        save(tmp_path / "nan.npz", model, v_template=broken, weights=weights, f=model["f"] * 1.0)
    )
    assert "'v_template': 1 of 180 numbers are NaN or infinite" in message
    assert "'weights': expected at" in message
    assert "'f': expected whole numbers, found dtype float64" in message
    tree = model["kintree_table"].copy()
    tree[0, 5] = 1
    message = refused(
        save(tmp_path / "tree.npz", model, kintree_table=tree, f=model["f"] + np.uint32(60))
    )
    assert "joint tree" in message
    assert "vertices that do not exist" in message


def test_smpl_with_24_joints_is_refused_by_number(tmp_path, rng):
    model = made_model(55, rng)
    small = {
        "posedirs": model["posedirs"][..., :207],
        "J_regressor": model["J_regressor"][:24],
        "kintree_table": model["kintree_table"][:, :24],
        "weights": model["weights"][:, :24],
    }
    assert "24 joints, expected 55 (SMPL-X) or 52 (SMPL-H)" in refused(
        save(tmp_path / "smpl.npz", model, **small)
    )
