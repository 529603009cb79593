"""The viewer: what is in the scene, what every control does, the static page, and its errors."""

import dataclasses
import io
import json
import socket
import sys
from pathlib import Path
from unittest import mock

import headless_browser
import numpy as np
import pytest
from small_scene import FRAMES, INITS, as_users_run, copy_of, generated, run
from test_layers import import_report

from hoijax.bundle.write import read_bundle
from hoijax.errors import UserError
from hoijax.initialization.evidence import complete, with_known_camera
from hoijax.results.observed import find_bundle
from hoijax.results.result import load_result
from hoijax.viewer import charts, open_viewer, save_page
from hoijax.viewer.forces import arrows
from hoijax.viewer.motion import candidate_motion, contact_colors, contact_patch, only_candidate
from hoijax.viewer.resolving import Edits, Resolver, with_key_poses
from hoijax.viewer.server import start_server

pytest.importorskip("viser", reason='needs viser: pip install "hoijax[viewer]"')
pytestmark = [
    pytest.mark.slow,
    # of viser's websocket library, when a server stops
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return generated(tmp_path_factory)[0]


@pytest.fixture(scope="module")
def viewer(folder):
    with as_users_run():
        shown = open_viewer(folder, port=0)
        yield shown
        shown.server.stop()


def click(button) -> None:
    """Press a button as a browser would, on this thread."""
    button.value = True


def names(viewer) -> set[str]:
    return set(viewer.server.scene._handle_from_node_name)


def test_import_loads_no_viser():
    report = import_report("hoijax.viewer")
    assert "viser" not in report["modules"]
    assert report["backends"] == []


def test_the_scene_holds_body_object_contacts_and_observations(viewer):
    assert viewer.url.startswith("http://127.0.0.1:")
    root = f"/candidate_{viewer.result.winner + 1}"
    expected = {f"{root}/person_1", f"{root}/objects/1_box", "/observed/object_1", "/camera"}
    assert expected <= names(viewer)
    assert any(name.startswith(f"{root}/contact/") for name in names(viewer))


def test_bones_pose_the_skin_as_the_body_model_does(viewer):
    """Independent skinning in numpy, from what the browser is given."""
    viewer.choose(viewer.result.winner)
    viewer.frame_slider.value = 7
    stage = viewer.stage_of(viewer.candidate)
    shaped = stage.motion.clip.people[0].shaped
    bones = stage.bodies[0].bones
    w, x, y, z = np.array([bone.wxyz for bone in bones]).T
    rotations = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    positions = np.array([bone.position for bone in bones])
    index, weight = np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights)
    local = np.asarray(shaped.vertices_rest)[:, None] - np.asarray(shaped.joints_rest)[index]
    moved = np.einsum("vkij,vkj->vki", rotations[index], local) + positions[index]
    skin = (weight[..., None] * moved).sum(axis=1)
    ground_truth = stage.motion.clip.people[0].vertices_world[7]
    assert np.abs(skin - ground_truth).max() < 2e-3
    T = viewer.result.Ts_world_object[0, 7]
    np.testing.assert_allclose(stage.objects[0].position, T[:3, 3], atol=1e-6)


def test_time_plays_pauses_and_comes_round(viewer):
    viewer.frame_slider.value = FRAMES - 1
    assert viewer.frame == FRAMES - 1
    click(viewer.play_button)
    assert viewer.playing
    assert viewer.play_button.label == "Pause"
    viewer.speed_slider.value = 2.0
    viewer.tick(1.01 / (2 * viewer.result.fps))
    assert viewer.frame == 0 == viewer.frame_slider.value
    click(viewer.play_button)
    viewer.tick(5.0)
    assert viewer.frame == 0
    assert viewer.play_button.label == "Play"


def test_candidates_switch_and_stand_side_by_side(viewer):
    options = viewer.candidate_menu.options
    assert len(options) == INITS
    viewer.candidate_menu.value = options[1]
    assert viewer.stage_of(1).root.visible
    assert not viewer.stage_of(0).root.visible
    viewer.other_menu.value = options[0]
    viewer.compare_box.value = True
    assert viewer.stage_of(0).root.visible
    assert viewer.stage_of(1).root.visible
    gap = viewer.stage_of(0).root.position - viewer.stage_of(1).root.position
    np.testing.assert_allclose(gap, [1.8, 0, 0])
    viewer.compare_box.value = False
    viewer.candidate_menu.value = options[viewer.result.winner]
    assert viewer.shown == [viewer.result.winner]


def test_layers_show_and_hide(viewer):
    stage = viewer.stage_of(viewer.candidate)
    frame = next(t for t, patch in enumerate(stage.patches) if patch is not None)
    viewer.frame_slider.value = frame
    viewer.contact_box.value = False
    assert not stage.patches[frame].visible
    viewer.contact_box.value = True
    assert stage.patches[frame].visible
    viewer.points_box.value = viewer.camera_box.value = True
    assert viewer.observed.root.visible
    assert viewer.observed.camera.visible
    viewer.opacity_slider.value = 0.5
    assert stage.bodies[0].opacity == 0.5
    viewer.opacity_slider.value = 1.0
    assert stage.bodies[0].opacity is None


def test_through_the_camera_the_picture_lies_behind_everything(viewer):
    viewer.through_box.value = True
    camera = viewer.observed.camera
    assert camera.visible
    # depth of the image, as viser's client has it: a frustum of unit volume times the scale
    half = np.tan(viewer.observed.fovs[0] / 2)
    depth = camera.scale / np.cbrt(half * half * viewer.observed.aspect / 3)
    _, position, _ = viewer.observed.pose(0)
    forward = viewer.observed.rotations[0, :, 2]
    person = viewer.motion.clip.people[0].vertices_world[0]
    assert ((person - position) @ forward).max() < depth
    assert camera.thickness == 0.0  # the edges meet at the eye, and covered all but a slit
    viewer.through_box.value = False
    assert camera.thickness > 0.0
    assert not camera.visible or viewer.camera_box.value
    assert camera.scale == 0.25


def test_a_guessed_focal_length_is_the_one_that_was_solved_with(folder):
    """What a solve takes in place of a guess is also what viewer and overlay look through."""
    bundle = read_bundle(folder / "bundle")
    true = np.array(bundle.observations.intrinsics)
    wrong = true.copy()
    wrong[:, [0, 1], [0, 1]] *= 1.7
    seen = dataclasses.replace(bundle.observations, intrinsics=wrong)
    guessed = dataclasses.replace(bundle, observations=seen, absent=("intrinsics",))
    found = with_known_camera(guessed).observations.intrinsics
    np.testing.assert_allclose(found[0, 0, 0], true[0, 0, 0], rtol=0.05)
    np.testing.assert_array_equal(found, complete(guessed).observations.intrinsics)


def test_observed_points_lie_on_the_object(viewer):
    from scipy.spatial import KDTree

    node, cloud = viewer.observed.clouds[-1]
    viewer.frame_slider.value = 3
    np.testing.assert_array_equal(node.points, cloud[3])
    T = viewer.result.Ts_world_object[0, 3]
    asset = viewer.result.assets[0]
    surface = asset.samples @ T[:3, :3].T + T[:3, 3]
    assert np.median(KDTree(surface).query(cloud[3])[0]) < 0.05


def test_the_why_names_every_edge_and_term(viewer):
    click(viewer.why.terms_button)
    for label in viewer.motion.edge_labels:
        assert label in viewer.why.edge_html.content
    assert viewer.why.frame_terms.shape == (INITS, len(viewer.result.term_names), FRAMES)
    # Neighbors are chosen anew, so that the loss is nearly, not exactly, the solver's.
    total = viewer.why.frame_terms.mean(axis=2).sum(axis=1)
    np.testing.assert_allclose(total, viewer.result.losses, rtol=0.1)
    assert "object points" in viewer.why.terms_html.content
    assert viewer.why.curves_html.content.count("<polyline") == len(viewer.result.term_names)


def test_the_why_judges_physics_and_draws_forces(viewer):
    why = viewer.why
    click(why.physics_button)
    (verdict,) = why.verdicts[viewer.candidate]
    assert f"{sum(verdict.frames['explained'])}/{FRAMES} held" in why.physics_html.content
    assert "held" in verdict.sentence
    node = viewer.stage_of(viewer.candidate).forces.node
    points, colors = arrows([verdict], viewer.frame)
    np.testing.assert_allclose(node.points, points, atol=1e-5)
    assert node.visible
    assert len(points) == len(colors) > 0
    why.verdicts.clear()
    why.draw()
    assert viewer.stage_of(viewer.candidate).forces.node is None


def test_edit_and_solve_again(viewer, folder, tmp_path):
    """A dragged box stays nearer to where it was put; an edge that is off costs nothing."""
    viewer.choose(viewer.result.winner)
    before = viewer.result
    frame, winner = 6, before.winner
    viewer.frame_slider.value = frame
    click(viewer.edit.drag_button)
    start = np.array(viewer.edit.gizmo.position)
    viewer.edit.gizmo.position = start + np.array([0.0, 0.1, 0.0])
    viewer.edit.drag_to(0, frame)
    viewer.edit.edge_boxes[0].value = False
    viewer.edit.weight_sliders["contact"].value = -1.0
    edits = viewer.edit.edits()
    assert edits.groups_off == {0}
    assert edits.factors == {"contact": pytest.approx(0.1)}
    T = edits.key_poses[(0, frame)]
    center = T[:3, :3] @ before.assets[0].center + T[:3, 3]
    np.testing.assert_allclose(center, start + np.array([0, 0.1, 0]), atol=1e-5)
    click(viewer.edit.solve_button)
    assert viewer.edit.status.content.startswith("Solved in"), viewer.edit.status.content
    after = viewer.result
    rise = (after.object_translations - before.object_translations)[winner, 0, :, 1]
    assert rise[frame] > 0.01
    assert abs(int(rise.argmax()) - frame) <= 1
    assert rise[frame] > rise[0] + 0.01
    contact = after.term_names.index("contact")
    if len(viewer.edit.edge_boxes) == 1:
        assert viewer.why.frame_terms[:, contact].max() == 0.0
    np.testing.assert_array_equal(load_result(folder).losses, before.losses)  # on disk as it was
    saved_as_a_result(viewer, folder, tmp_path / "edited")
    click(viewer.edit.clear_button)
    assert not viewer.edit.edits().key_poses


def saved_as_a_result(viewer, folder, out) -> None:
    """What is shown goes to a folder of its own, with the edits; never over the result in view."""
    viewer.edit.folder_text.value = str(folder)
    click(viewer.edit.save_button)
    assert "another folder" in viewer.edit.status.content
    viewer.edit.folder_text.value = str(out)
    with mock.patch("hoijax.api.result_folder.DEFAULT_FORMATS", ("amass",)):
        click(viewer.edit.save_button)
    assert str(out) in viewer.edit.status.content
    saved = load_result(out)
    np.testing.assert_array_equal(saved.object_translations, viewer.result.object_translations)
    assert saved.run["edits"]["weight_factors"] == {"contact": pytest.approx(0.1)}
    assert saved.run["edits"]["key_poses"][0]["frame"] == 6
    assert len(saved.run["edits"]["edges_off"]) >= 1
    weights = saved.run["weights"]["contact"]
    assert weights == pytest.approx(
        [0.1 * float(w) for w in viewer.edit.resolver.weights["contact"]]
    )
    assert find_bundle(saved, out) is not None


def test_a_result_of_another_method_cannot_be_solved_again(folder):
    result = load_result(folder)
    bundle = read_bundle(folder / "bundle")
    result.run["method"] = "magic"
    with pytest.raises(UserError, match="no method 'magic'"):
        Resolver(result, bundle)
    result.run["method"] = "hoi-page"
    result.run.pop("settings")
    with pytest.raises(UserError, match=r"run\.json"):
        Resolver(result, bundle)


def test_a_result_from_before_a_term_is_solved_again_without_it(folder):
    result, bundle = load_result(folder), read_bundle(folder / "bundle")
    older = dataclasses.replace(result, term_names=result.term_names[:-1])
    assert tuple(term.name for term in Resolver(older, bundle).prepared.terms) == older.term_names
    foreign = dataclasses.replace(result, term_names=(*result.term_names[:-1], "mine"))
    with pytest.raises(UserError, match=r"terms of its own, .*: mine"):
        Resolver(foreign, bundle)


def test_key_poses_move_neighbors_less(folder):
    result = load_result(folder)
    T = np.array(result.Ts_world_object[0, 5])
    T[1, 3] += 0.2
    moved = with_key_poses(result, Edits(key_poses={(0, 5): T}))
    k = result.winner
    rise = (moved.object_translations - result.object_translations)[k, 0, :, 1]
    np.testing.assert_allclose(rise[[1, 5, 9]], [0.0, 0.2, 0.0], atol=1e-6)
    assert 0.2 > rise[4] > rise[3] > rise[2] > 0
    np.testing.assert_allclose(rise[4], rise[6], atol=1e-6)


def test_distances_against_igl(folder):
    """Skin that the viewer paints red is inside by igl's winding number."""
    import igl

    result = load_result(folder)
    from hoijax.bodies import load_body

    motion = candidate_motion(result, result.winner, load_body(result.body_name))
    asset, frame = result.assets[0], FRAMES // 2
    mesh = motion.clip.to_world(motion.clip.assets[0].vertices, 0, frame)
    skin = motion.clip.people[0].vertices_world[frame]
    near = np.flatnonzero(np.abs(motion.distances[0, frame]) < 0.05)[::5]
    exact = igl.signed_distance(
        skin[near].astype(np.float64), mesh.astype(np.float64), asset.faces.astype(np.int64)
    )[0]
    assert len(near) > 20
    assert np.abs(exact - motion.distances[0, frame, near]).max() < 0.01


def test_colors_and_patches():
    colors = contact_colors(np.array([-0.01, 0.0, 0.05], np.float32)).astype(int)
    assert colors[0, 0] > 200
    assert colors[0, 1] < 60
    assert colors[1, 1] > 150
    assert colors[1, 2] < 60
    assert colors[2, 2] > 150
    assert colors[2, 0] < 100
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    vertices, corners, shades = contact_patch(square, faces, np.array([1, 0.01, 1, 1], np.float32))
    np.testing.assert_allclose(vertices, square[:3] + np.array([0, 0, 0.0015]), atol=1e-6)
    assert corners.tolist() == [[0, 1, 2]]
    assert shades.shape == (3, 3)
    none = contact_patch(square, faces, np.ones(4, np.float32))
    assert len(none[0]) == len(none[1]) == 0


def test_edges_met_and_violated_have_their_colors():
    assert charts.edge_state(True, True) == charts.MET
    assert charts.edge_state(True, False) == charts.VIOLATED
    expected = np.array([[True, True, False]])
    met = np.array([[True, False, False]])
    drawn = charts.edge_strip(["hand <b>"], expected, met, np.zeros((1, 3)), frame=1)
    cells = drawn.split("</svg>")[0]
    assert [cells.count(c) for c in (charts.MET, charts.VIOLATED, charts.APART)] == [1, 1, 1]
    assert "1/2 met" in drawn
    assert "<b>" not in drawn


def test_one_candidate_is_its_own_winner(folder):
    result = load_result(folder)
    single = only_candidate(result, 1)
    assert single.winner == 0
    np.testing.assert_array_equal(single.object_rotations[0], result.object_rotations[1])


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "scene.html"
    ran = run("view", folder, "--save", path)
    assert ran.code == 0, ran.err
    assert str(path) in ran.out
    return path


def test_the_static_page_is_whole(page, folder):
    text = page.read_text()
    assert "__VISER_EMBED_DATA__" in text
    assert load_result(folder).prompt in text
    assert page.stat().st_size < 12e6


def picture(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def body_and_object(png: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (row, column) that are bluish like the skin, and warm like the clay of the box."""
    image = picture(png)
    image[:160, :330] = 255  # viser's notice that WebGL runs in software, with an orange bar
    r, g, b = np.moveaxis(image, -1, 0)
    return np.argwhere((b - r > 14) & (abs(r - g) < 40) & (r > 60)), np.argwhere(
        (r - b > 4) & (r >= g)
    )


@pytest.mark.skipif(not headless_browser.can_run(), reason=headless_browser.WHY_NOT)
@pytest.mark.slow
@pytest.mark.thorough
def test_the_static_page_plays_in_chromium(page, tmp_path):
    def ready(png: bytes) -> bool:
        body, box = body_and_object(png)
        return len(body) > 3000 and len(box) > 800

    seen = headless_browser.look_at_page(page.as_uri(), tmp_path, ready)
    body, box = body_and_object(seen.png)
    assert min(len(body) / 3000, len(box) / 800) > 1.0, (len(body), len(box))
    # In the hands: there is skin right beside the box, and more of the body above and below it.
    (top, left), (bottom, right) = np.percentile(box, [2, 98], axis=0)
    rows, columns = body.T
    beside = (rows > top - 30) & (rows < bottom + 30) & (columns > left - 30)
    assert (beside & (columns < right + 30)).sum() > 100
    assert (rows < top).sum() > 300
    assert (rows > bottom).sum() > 300
    assert seen.errors == []
    assert seen.requests == []


@pytest.mark.skipif(not headless_browser.can_run(), reason=headless_browser.WHY_NOT)
def test_the_tabs_live_in_chromium(viewer, tmp_path):
    """Clicked as a person would: nothing breaks the page, the strips are drawn, solving goes on."""

    def scene_is_there(png: bytes) -> bool:
        body, box = body_and_object(png)
        return len(body) > 2000 and len(box) > 500

    viewer.choose(viewer.result.winner)
    with headless_browser.browser(viewer.url, tmp_path, (900, 620)) as page:
        page.click("Why")
        page.click("Measure terms by frame")
        page.until("document.querySelectorAll('svg rect title').length > 100")
        page.until("document.querySelectorAll('svg polyline').length > 5")
        page.click("Edit")
        page.click("Solve again")
        page.until("document.body.innerText.includes('Solved in')", 120)
        png = page.wait(scene_is_there)  # the page once went white here
        assert scene_is_there(png)
        assert page.errors == []
        assert page.outside == []


def test_words_of_a_result_are_shown_and_never_run(folder, tmp_path):
    """viser's markdown is MDX: it runs html handlers and what stands in braces."""
    hostile = "<img src=x onerror=\"document.title='ran'\">{(document.title = 'ran')}"
    copied = copy_of(folder, tmp_path / "hostile")
    header = json.loads((copied / "run.json").read_text())
    terms = [f"{hostile}{i}" for i in range(len(header["term_names"]))]
    header |= {"prompt": hostile, "term_names": terms, "corrections": {hostile: 1.0}}
    (copied / "run.json").write_text(json.dumps(header))
    with as_users_run():
        shown = open_viewer(copied, port=0)
    try:
        sent = shown.server._websock_server._broadcast_buffer.message_from_id.values()
        with_words = [message for message in sent if "onerror" in repr(message)]
        kinds = {type(message).__name__ for message in with_words}
        assert "GuiHtmlMessage" in kinds
        assert "GuiMarkdownMessage" not in kinds
        html = [message for message in with_words if type(message).__name__ == "GuiHtmlMessage"]
        assert "<img" not in repr(html)
        if headless_browser.can_run():
            with headless_browser.browser(shown.url, tmp_path) as page:
                page.until("document.body.innerText.includes('onerror')")
                for tab in ("Why", "Edit"):
                    page.click(tab)
                    page.session.listen(0.5)
                assert page.run("document.title") != "ran"
                assert page.run("document.querySelectorAll('img[onerror]').length") == 0
    finally:
        shown.server.stop()


def test_a_missing_result_is_named(tmp_path):
    ran = run("view", tmp_path / "nothing")
    assert ran.code == 2
    assert "run.json is missing" in ran.err


def test_a_port_that_is_taken_names_the_remedy(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = run("view", folder, "--port", str(port))
    assert ran.code == 2
    assert f"127.0.0.1:{port}" in ran.err
    assert "--port" in ran.err


def test_without_viser_the_extra_is_named(folder, tmp_path):
    with (
        mock.patch.dict(sys.modules, {"viser": None}),
        pytest.raises(UserError, match=r"hoijax\[viewer\]"),
    ):
        save_page(folder, tmp_path / "scene.html")


def test_bad_pages_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"\.html"):
        save_page(folder, tmp_path / "scene.txt")
    with pytest.raises(UserError, match="no folder"):
        save_page(folder, tmp_path / "none" / "scene.html")
    with pytest.raises(UserError, match="candidates 1 to 2"):
        save_page(folder, tmp_path / "scene.html", candidate=7)
    with pytest.raises(UserError, match="65535"):
        start_server("127.0.0.1", 70000)


def test_without_its_bundle_a_result_still_plays(folder, tmp_path):
    import shutil

    alone = copy_of(folder, tmp_path / "alone")
    shutil.rmtree(alone / "bundle")
    with as_users_run():
        shown = open_viewer(alone, port=0)
    try:
        assert shown.observed is None
        assert shown.edit.solve_button.disabled
        shown.frame_slider.value = 2
        shown.edit.solve_again()  # pressed all the same: says so, and nothing breaks
        assert "Needs the bundle" in shown.edit.status.content
    finally:
        shown.server.stop()
