"""VPoser from an npz: against the network built in torch, in a solve, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vposer_factory import vposer_network

from hoijax.bodies.vposer import JOINTS, load_vposer
from hoijax.errors import UserError


@pytest.fixture(scope="module")
def network():
    return vposer_network()


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("vposer") / "vposer.npz"
    np.savez(path, **network[2])
    return path


def test_equals_the_network_in_torch(network, file, rng):
    torch = pytest.importorskip("torch")
    encoder, decoder, _ = network
    model = load_vposer(file)
    pose = (0.4 * rng.normal(size=(5, JOINTS, 3))).astype(np.float32)
    with torch.no_grad():
        code = encoder(torch.from_numpy(pose.reshape(5, 63)))
        columns = decoder(code).reshape(-1, 3, 2).numpy()
    a = columns[..., 0] / np.linalg.norm(columns[..., 0], axis=-1, keepdims=True)
    b = columns[..., 1] - (a * columns[..., 1]).sum(-1, keepdims=True) * a
    b /= np.linalg.norm(b, axis=-1, keepdims=True)
    expected = np.stack([a, b, np.cross(a, b)], axis=-1).reshape(5, JOINTS, 3, 3)
    found, turned = jax.jit(lambda p: (model.encode(p), model.decode(model.encode(p))))(pose)
    np.testing.assert_allclose(found, code.numpy(), atol=1e-5)
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_energy_is_of_the_code_and_of_the_way_back(file, rng):
    from scipy.spatial.transform import Rotation

    model = load_vposer(file)
    pose = (0.4 * rng.normal(size=(22, 3))).astype(np.float32)
    value, slope = jax.jit(jax.value_and_grad(model.energy))(jnp.asarray(pose))
    code = np.asarray(model.encode(jnp.asarray(pose[1:])))
    back = np.asarray(model.decode(jnp.asarray(code)))
    away = back - Rotation.from_rotvec(pose[1:]).as_matrix()
    assert float(value) == pytest.approx(
        0.5 * (code**2).sum() + 0.25 * (away**2).sum() / 0.35**2, rel=1e-4
    )
    assert not np.asarray(slope)[0].any()  # the root is free
    direction = rng.normal(size=pose.shape).astype(np.float32)
    ahead, behind = (float(model.energy(jnp.asarray(pose + s * direction))) for s in (1e-2, -1e-2))
    assert float((np.asarray(slope) * direction).sum()) == pytest.approx(
        (ahead - behind) / 2e-2, rel=0.02
    )


def test_other_files_are_refused(network, file, tmp_path):
    with pytest.raises(UserError, match="no VPoser weights at"):
        load_vposer(tmp_path / "none.npz")
    state = dict(network[2])
    state.pop("vp_model.encoder_net.8.mu.weight")
    state["vp_model.decoder_net.3.bias"] = np.zeros(3, np.float32)
    bad = tmp_path / "bad.npz"
    np.savez(bad, **state)
    with pytest.raises(UserError, match=r"mu\.weight': is missing.*H = 24 .*found \(3,\)"):
        load_vposer(bad)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match="does not hold VPoser weights"):
        load_vposer(tmp_path / "text.npz")
