"""The image that a video model goes on from: a composed still's scene.glb, whole and in its colors."""

import numpy as np
import pytest
import trimesh

from hoijax.api.animate import stages_from
from hoijax.composition.still_image import FIELD_OF_VIEW, still_image
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.importers.intrinsics import read_intrinsics

HEIGHT, WIDTH = 60, 90


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A red body and a blue box beside it."""
    folder = tmp_path_factory.mktemp("still")
    write_scene(folder)
    return folder


def write_scene(folder):
    scene = trimesh.Scene()
    for name, size, place, color in (
        ("person", (0.4, 1.8, 0.3), (0.0, 0.9, 0.0), (200, 30, 30, 255)),
        ("box", (0.4, 0.4, 0.4), (0.6, 0.2, 0.0), (30, 30, 200, 255)),
    ):
        mesh = trimesh.creation.box(size)
        mesh.apply_translation(place)
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=np.tile(color, (8, 1)))
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    scene.export(folder / "scene.glb")


@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (WIDTH, HEIGHT)])
def test_both_are_whole_in_the_image_and_have_their_colors(still, height, width):
    image = still_image(still, height, width).astype(int)
    assert image.shape == (height, width, 3)
    red = image[..., 0] - image[..., 2] > 40
    blue = image[..., 2] - image[..., 0] > 40
    border = np.ones((height, width), bool)
    border[1:-1, 1:-1] = False
    for seen in (red, blue):
        assert seen.sum() > 20
        assert not (seen & border).any()
    assert np.nonzero(red)[0].min() < np.nonzero(blue)[0].min()  # the person is taller


@pytest.mark.slow
def test_the_still_is_handed_to_the_video_model_unless_the_user_gives_an_image_or_clip(still):
    heard = []
    stages = stages_from(still, {"prior": "diffusion", "size": (HEIGHT, WIDTH)}, heard.append)
    assert stages["image"] == still / "image.png"
    assert str(still / "image.png") in heard[0]
    from priors.observe.user_files import read_image

    np.testing.assert_array_equal(read_image(stages["image"]), still_image(still, HEIGHT, WIDTH))
    lens = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, WIDTH, HEIGHT)
    given = read_intrinsics(stages["intrinsics"]).at(WIDTH, HEIGHT)
    np.testing.assert_allclose(given[0], lens.matrix, rtol=1e-5)
    graph = {"pag": still / "affordance.json"}
    for given in ({"video": "clip.mp4"}, {"image": "mine.png"}):
        assert stages_from(still, given, heard.append) == given | graph
    mine = {"pag": "mine.json", "intrinsics": "500"}
    stages = stages_from(still, mine, heard.append)
    assert {key: stages[key] for key in mine} == mine


def test_what_is_no_composed_scene_is_refused(tmp_path):
    trimesh.Scene(trimesh.creation.box((1, 1, 1))).export(tmp_path / "scene.glb")
    with pytest.raises(UserError, match="hoijax compose"):
        still_image(tmp_path, HEIGHT, WIDTH)
    (tmp_path / "scene.glb").unlink()
    with pytest.raises(UserError, match="compose the static scene again"):
        still_image(tmp_path, HEIGHT, WIDTH)
