"""Part voting: exact masks give exact parts, noisy ones nearly so, and what is never seen is named."""

import numpy as np
import pytest
import trimesh
from scipy.ndimage import gaussian_filter

from hoijax.errors import UserError
from hoijax.objects.asset import Asset, asset_from_arrays, load_asset
from priors.language.script import script_from_text
from priors.models.packaged import mask_box
from priors.observe.part_voting import (
    IMAGE_SIZE,
    View,
    face_neighbors,
    face_parts_from_votes,
    part_masks,
    render_views,
    vote_parts,
    with_parts,
)
from priors.observe.stage_functions import label_parts
from priors.observe.stage_inputs import Inputs
from priors.protocols import Detection, ModelId, Tracks
from priors.settings import ObserveSettings, Request
from priors.store import Entry

OBJECTS = ("barbell", "box", "chair", "broom", "suitcase", "skateboard", "table")
SIZE = 224


class TrueParts:
    """Detector and segmenter that know the parts: a box is answered with the mask it was made from."""

    model_id = ModelId("truth")

    def __init__(self, asset: Asset, hidden: tuple[int, ...] = (), size: int = SIZE):
        self.answers, self.asked = {}, []
        for view in render_views(asset, size):
            part = np.where(view.faces >= 0, asset.face_parts[view.faces], -1)
            masks = [part == i for i in range(len(asset.part_names))]
            self.answers[hash(view.image.tobytes())] = [
                (i, mask) for i, mask in enumerate(masks) if mask.any() and i not in hidden
            ]

    def detect(self, image, phrases):
        self.asked.append(tuple(phrases))
        return [
            Detection(i, mask_box(mask), 0.9) for i, mask in self.answers[hash(image.tobytes())]
        ]

    def track(self, frames, prompts):
        known = self.answers[hash(frames[0].tobytes())]
        masks = [
            next(mask for _, mask in known if (mask_box(mask) == prompt.box).all())
            for prompt in prompts
        ]
        return Tracks(np.stack(masks)[:, None], np.ones((len(masks), 1), np.float32))


def areas(asset: Asset) -> np.ndarray:
    a, b, c = np.moveaxis(asset.vertices[asset.faces].astype(float), 1, 0)
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=-1)


def right_share(asset: Asset, labels: np.ndarray) -> float:
    return float(areas(asset)[labels == asset.face_parts].sum() / areas(asset).sum())


def without_parts(asset: Asset) -> Asset:
    none = np.full(len(asset.faces), -1, np.int32)
    return asset_from_arrays(asset.name, asset.vertices, asset.faces, none, (), 0)


@pytest.mark.parametrize("name", OBJECTS)
def test_exact_masks_give_the_parts(name):
    asset = load_asset(name)
    ground_truth = TrueParts(asset)
    labeled = vote_parts(
        without_parts(asset), asset.part_names, ground_truth, ground_truth, size=SIZE
    )
    assert right_share(asset, labeled.face_parts) >= 0.95
    assert labeled.part_names == asset.part_names
    # without_parts draws the same samples, so each has its own true part
    assert (labeled.sample_parts == asset.sample_parts).mean() >= 0.95
    assert ground_truth.asked[0][0] == f"the {asset.part_names[0]} part of the {name}"


def noisy_masks(asset: Asset, views, rng: np.random.Generator):
    """Masks moved by up to 3 of 256 pixels, rough edges, every fifth missed, every tenth view mislabelled."""
    masks = []
    for view in views:
        part = np.where(view.faces >= 0, asset.face_parts[view.faces], -1)
        found = np.stack([part == i for i in range(len(asset.part_names))])
        for i, mask in enumerate(found):
            moved = np.roll(mask, rng.integers(-3, 4, 2), (0, 1)).astype(float)
            rough = gaussian_filter(moved, 2) + rng.normal(0, 0.02, mask.shape)
            found[i] = (rough > 0.5) & (view.faces >= 0)
        found[rng.random(len(found)) < 0.2] = False
        if rng.random() < 0.1:
            found = found[rng.permutation(len(found))]
        scores = np.where(found.any((1, 2)), rng.uniform(0.3, 1.0, len(found)), 0.0)
        masks.append((found, scores))
    return masks


@pytest.mark.slow
def test_noisy_masks_give_nearly_the_parts():
    shares = []
    for seed, name in enumerate(OBJECTS):
        asset = load_asset(name)
        views = render_views(asset, 256)
        masks = noisy_masks(asset, views, np.random.default_rng(seed))
        shares.append(right_share(asset, face_parts_from_votes(asset, views, masks)))
        print(f"{name}: {shares[-1]:.3f}")
    assert np.mean(shares) >= 0.92
    assert min(shares) >= 0.80


def test_faces_inside_take_the_label_of_the_surface_around_them():
    """A ball inside a closed shell is in no image."""
    shell = trimesh.creation.icosphere(subdivisions=2, radius=0.3)
    core = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    both = trimesh.util.concatenate([shell, core])
    parts = np.where(both.triangles_center[:, 1] > 0, 1, 0)
    asset = asset_from_arrays("ball", both.vertices, both.faces, parts, ("lower", "upper"))
    views = render_views(asset, 160)
    assert max(view.faces.max() for view in views) < len(shell.faces)
    masks = []
    for view in views:
        part = np.where(view.faces >= 0, asset.face_parts[view.faces], -1)
        masks.append((np.stack([part == 0, part == 1]), np.array([0.9, 0.9])))
    labels = face_parts_from_votes(asset, views, masks)
    assert (labels == asset.face_parts).all()


def test_faces_seen_without_a_part_stay_without():
    asset = load_asset("table")
    ground_truth = TrueParts(asset, hidden=(asset.part_names.index("legs"),))
    labeled = vote_parts(without_parts(asset), ("top",), ground_truth, ground_truth, size=SIZE)
    legs = asset.face_parts == asset.part_names.index("legs")
    area = areas(asset)
    assert area[legs & (labeled.face_parts == -1)].sum() > 0.9 * area[legs].sum()
    assert (labeled.face_parts[~legs] == 0).mean() > 0.9


def test_a_part_that_is_never_seen_is_named():
    asset = load_asset("chair")
    ground_truth = TrueParts(asset, hidden=(2,), size=96)
    with pytest.raises(
        UserError, match=r"object 'chair' shows no part 'backrest'.*12 views.*parts\.json"
    ):
        vote_parts(without_parts(asset), asset.part_names, ground_truth, ground_truth, size=96)


def test_a_mask_of_the_whole_object_is_no_part():
    """Of parts that are all answered with the whole object, one may be its body; the others are unseen."""

    class Whole(TrueParts):
        def detect(self, image, phrases):
            return [Detection(i, np.array([0.0, 0, 9, 9]), 0.9) for i in range(len(phrases))]

        def track(self, frames, prompts):
            mask = (frames[0] < 255).any(-1)
            count = len(prompts)
            masks = np.repeat(mask[None, None], count, axis=0)
            return Tracks(masks, np.ones((count, 1), np.float32))

    asset = load_asset("box")
    whole = Whole(asset, size=96)
    with pytest.raises(UserError, match=r"'sides'.*'top'"):
        vote_parts(without_parts(asset), asset.part_names, whole, whole, size=96)
    one = vote_parts(without_parts(asset), ("everything",), whole, whole, size=96)
    assert (one.face_parts == 0).all()


def test_a_whole_object_box_does_not_swallow_a_parts_pieces():
    """Detectors answer with two legs and the whole chair: the union would be the chair."""
    faces = np.zeros((20, 20), int)
    boxes = {(0, 0, 20, 20): 0.9, (0, 12, 5, 20): 0.5, (15, 12, 20, 20): 0.4}

    class Finder:
        model_id = ModelId("fake")

        def detect(self, image, phrases):
            found = [Detection(0, np.array(box, float), score) for box, score in boxes.items()]
            return [*found, Detection(1, np.array([0.0, 0, 20, 20]), 0.8)]

        def track(self, frames, prompts):
            masks = np.zeros((len(prompts), 1, 20, 20), bool)
            for mask, prompt in zip(masks, prompts, strict=True):
                left, top, right, bottom = prompt.box.astype(int)
                mask[0, top:bottom, left:right] = True
            return Tracks(masks, np.ones((len(prompts), 1), np.float32))

    view = View(np.zeros((20, 20, 3), np.uint8), faces)
    masks, scores = part_masks(view, ["legs", "body"], Finder(), Finder())
    assert masks[0].sum() == 2 * 5 * 8
    assert scores[0] == pytest.approx(0.5)
    assert masks[1].all()  # the body of a suitcase may be as large: nothing else was found of it


def test_part_names_are_checked():
    asset = load_asset("box")
    ground_truth = TrueParts(asset, size=32)
    for names in ((), ("lid", "lid")):
        with pytest.raises(UserError, match="each once"):
            vote_parts(asset, names, ground_truth, ground_truth)


def test_views_show_the_whole_object_from_all_sides():
    asset = load_asset("chair")
    views = render_views(asset, 128)
    assert len(views) == 12
    for view in views:
        seen = view.faces >= 0
        border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
        assert not border.any()
        assert 0.02 < seen.mean() < 0.6
        assert (view.image[~seen] == 255).all()
    shown = np.unique(np.concatenate([view.faces[view.faces >= 0] for view in views]))
    assert areas(asset)[shown].sum() > 0.93 * areas(asset).sum()


def test_neighbors_across_doubled_vertices():
    """A cube whose faces share no vertices is still one surface: 12 triangles with 3 neighbors each."""
    cube = trimesh.creation.box((1, 1, 1))
    soup = asset_from_arrays(
        "cube", cube.vertices[cube.faces.reshape(-1)], np.arange(36).reshape(12, 3)
    )
    assert (np.diff(face_neighbors(soup).indptr) == 3).all()


def test_samples_take_the_part_of_their_face():
    asset = load_asset("broom")
    again = with_parts(without_parts(asset), asset.face_parts, asset.part_names)
    assert (again.sample_parts == asset.sample_parts).mean() > 0.99


def test_the_part_stage_labels_meshes_without_parts():
    """The stage of `hoijax observe`: the graph's parts, found on a mesh that brings none."""
    asset = load_asset("chair")
    script = script_from_text("a person sits on a chair", [asset])
    ground_truth, bare = TrueParts(asset, size=IMAGE_SIZE), without_parts(asset)
    node = script.graph.objects[0].model_copy(update={"parts": asset.part_names})
    graph = script.graph.model_copy(update={"objects": (node,)})
    entries = {"pag": Entry({}, {"graph": graph.model_dump(mode="json")}, "", 0.0)}
    models = {"detector": ground_truth, "segmenter": ground_truth}
    request = Request("a person sits on a chair", (bare,))
    arrays, value = label_parts(Inputs(request, ObserveSettings(), models, entries))
    entries["parts"] = Entry(arrays, value, "", 0.0)
    (labeled,) = Inputs(request, ObserveSettings(), models, entries).assets()
    assert labeled.part_names == asset.part_names
    assert right_share(asset, labeled.face_parts) > 0.99
    assert (labeled.sample_parts == asset.sample_parts).mean() > 0.99
