"""Parts of a mesh from images of it: every view's part masks vote for the faces they show.

HOI-PAGE labels the objects' parts like this. Ours casts rays, so a pixel's face is known exactly and
no samples are matched: votes are counted per face, smoothed over neighboring faces, and faces that
no view shows take the label of the nearest face that one does.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.mesh_queries import nearest_on_mesh
from hoijax.geometry.transforms import look_at
from hoijax.objects.asset import Asset
from hoijax.rendering.raycast import CastImage, RenderMesh, cast
from priors.protocols import Detector, Prompt, VideoSegmenter

VIEWS = ((20, (45, 135, 225, 315)), (-20, (45, 135, 225, 315)), (65, (0, 180)), (-65, (90, 270)))
"""(elevation, azimuths) in degrees; the published views are the first two rows, at 15 degrees."""
FIELD_OF_VIEW = 31.0  # degrees: the object's bounding sphere fits at four times its radius
DISTANCE = 4.0  # of the camera from the object's center, in radii (published)
IMAGE_SIZE = 512  # pixels (published)
BACKGROUND = 255
LARGEST_PART = (
    0.9  # a mask that covers more of the object than this is the whole object (published)
)
UNDETECTED = 0.1  # weight of views in which a part was not found, as evidence that it is elsewhere
LEVEL = 0.07  # share of its votes that a face needs to be of a part
NEIGHBOR_WEIGHT = 0.5  # of the votes of all neighbors together against the face's own
FEWEST_PIXELS = 2.0  # a face seen with fewer counts as unseen


@dataclass(frozen=True)
class View:
    """An image of an object alone."""

    image: UInt8[ndarray, "H W 3"]
    faces: Int[ndarray, "H W"]
    """Face of the object that a pixel shows, -1 none."""


def vote_parts(
    asset: Asset,
    part_names: Sequence[str],
    detector: Detector,
    segmenter: VideoSegmenter,
    *,
    object_name: str | None = None,
    size: int = IMAGE_SIZE,
) -> Asset:
    """The asset with its faces (and samples) labeled by part; -1 where no part was seen.

    part_names: as in the part affordance graph. object_name: what the detector is told the object is.
    Raises UserError, naming part and object, for a part that no view shows.
    """
    if not part_names or len(set(part_names)) != len(part_names):
        raise UserError(f"object '{asset.name}': give one or more part names, each once.")
    phrases = [f"the {part} part of the {object_name or asset.name}" for part in part_names]
    views = render_views(asset, size)
    detected = [part_masks(view, phrases, detector, segmenter) for view in views]
    masks = without_whole_objects(views, detected)
    never = [
        part
        for i, part in enumerate(part_names)
        if not any(detected[i].any() for detected, _ in masks)
    ]
    if never:
        raise UserError(_unseen_message(asset, never, phrases, part_names))
    labels = face_parts_from_votes(asset, views, masks)
    missing = [part for i, part in enumerate(part_names) if not (labels == i).any()]
    if missing:
        raise UserError(_unseen_message(asset, missing, phrases, part_names))
    return with_parts(asset, labels, tuple(part_names))


def render_views(asset: Asset, size: int = IMAGE_SIZE) -> list[View]:
    """The object on a white ground, from twelve sides."""
    camera = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, size, size)
    vertices = (asset.vertices - asset.center).astype(np.float32)
    mesh = RenderMesh(vertices, asset.faces, 1)
    views = []
    for elevation, azimuths in VIEWS:
        for azimuth in azimuths:
            e, a = np.radians(elevation), np.radians(azimuth)
            towards = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
            eye = DISTANCE * asset.radius * towards
            image = cast([mesh], camera, look_at(eye, np.zeros(3)))
            faces = image.hits.face_ids.reshape(size, size)
            views.append(View(_shaded(image, towards), faces.astype(np.int32)))
    return views


def _shaded(image: CastImage, towards: Float[ndarray, " 3"]) -> UInt8[ndarray, "H W 3"]:
    """Grey, lit from the camera and a little from above, so that undersides are as clear as tops."""
    normals = image.normals_world
    light = 0.12 + 0.5 * np.abs(normals @ towards) + 0.1 * normals[..., 1]
    gray = 255 * np.clip(light, 0, 1) ** (1 / 2.2)
    gray = np.where(image.instance_ids > 0, gray, BACKGROUND)
    return np.repeat(np.round(gray).astype(np.uint8)[..., None], 3, axis=-1)


def part_masks(
    view: View, phrases: Sequence[str], detector: Detector, segmenter: VideoSegmenter
) -> tuple[Bool[ndarray, "P H W"], Float[ndarray, " P"]]:
    """Mask and score of the best box of every part in a view; empty and zero where there is none.

    A part may be seen in several pieces (the legs of a chair): all its boxes are taken, but for those
    of the whole object, which detectors like to answer with and which would swallow the others.
    """
    count, silhouette = len(phrases), view.faces >= 0
    masks = np.zeros((count, *silhouette.shape), bool)
    scores = np.zeros(count)
    detections = [d for d in detector.detect(view.image, phrases) if 0 <= d.phrase < count]
    if not detections:
        return masks, scores
    prompts = [Prompt(0, box=d.box) for d in detections]
    tracks = segmenter.track(view.image[None], prompts)
    pieces = tracks.masks[:, 0] & silhouette
    is_whole = pieces.sum((1, 2)) > LARGEST_PART * silhouette.sum()
    in_pieces = {
        d.phrase
        for d, p, whole in zip(detections, pieces, is_whole, strict=True)
        if p.any() and not whole
    }
    for detection, piece, sure, whole in zip(
        detections, pieces, tracks.scores[:, 0], is_whole, strict=True
    ):
        if piece.any() and not (whole and detection.phrase in in_pieces):
            masks[detection.phrase] |= piece
            score = float(np.clip(detection.score, 0, 1) * np.clip(sure, 0, 1))
            scores[detection.phrase] = max(scores[detection.phrase], score)
    return masks, scores


def without_whole_objects(
    views: Sequence[View], masks: Sequence[tuple[ndarray, ndarray]]
) -> list[tuple[ndarray, ndarray]]:
    """Masks without those that cover the whole object, which detectors like to answer with.

    The published rule drops all masks over 90 %; but the body of a suitcase is that large. So the one
    part that is large in most views keeps its masks: smaller masks go before it anyway.
    """
    silhouettes = np.array([max((view.faces >= 0).sum(), 1) for view in views])
    cover = np.stack([part_mask.sum((1, 2)) for part_mask, _ in masks]) / silhouettes[:, None]
    usual = np.array([np.median(row[row > 0]) if row.any() else 0.0 for row in cover.T])
    body = int(np.argmax(usual))
    partial = []
    for (part_mask, scores), row in zip(masks, cover, strict=True):
        is_whole = (row > LARGEST_PART) & (np.arange(len(row)) != body)
        partial.append((part_mask & ~is_whole[:, None, None], np.where(is_whole, 0.0, scores)))
    return partial


def face_parts_from_votes(
    asset: Asset,
    views: Sequence[View],
    masks: Sequence[tuple[Bool[ndarray, "P H W"], Float[ndarray, " P"]]],
) -> Int[ndarray, "F"]:
    """Part of every face, -1 none.

    A pixel that lies in several masks votes for the smallest; a face's share for a part is its votes
    over the pixels it was seen with, views without that part counting less.
    """
    count, parts = len(asset.faces), len(masks[0][1])
    votes, asked = np.zeros((count, parts)), np.zeros((count, parts))
    seen = np.zeros(count)
    for view, (part_mask, scores) in zip(views, masks, strict=True):
        shown = view.faces >= 0
        pixels = np.bincount(view.faces[shown], minlength=count).astype(float)
        seen += pixels
        is_found = part_mask.any((1, 2))
        weights = np.where(is_found, np.maximum(scores, 1e-3), UNDETECTED * _mean(scores))
        asked += pixels[:, None] * weights
        owner = np.full(view.faces.shape, -1)
        for part in np.argsort(-part_mask.sum((1, 2)), kind="stable"):
            owner[part_mask[part]] = part
        for part in np.flatnonzero(is_found):
            mine = view.faces[shown & (owner == part)]
            votes[:, part] += weights[part] * np.bincount(mine, minlength=count)
    neighbors = face_neighbors(asset)
    votes, asked = (_smoothed(x, neighbors) for x in (votes, asked))
    fraction = votes / np.maximum(asked, 1e-9)
    labels = np.where(fraction.max(-1) >= LEVEL, fraction.argmax(-1), -1)
    return _filled(asset, labels, seen >= FEWEST_PIXELS, neighbors).astype(np.int32)


def with_parts(asset: Asset, labels: Int[ndarray, "F"], part_names: tuple[str, ...]) -> Asset:
    """The asset with other parts; its samples take the part of the nearest face."""
    face_ids = nearest_on_mesh(asset.samples, asset.vertices, asset.faces).faces
    labels = labels.astype(np.int32)
    return dataclasses.replace(
        asset, face_parts=labels, part_names=part_names, sample_parts=labels[face_ids]
    )


def face_neighbors(asset: Asset):
    """(F, F) sparse matrix: distance of the middles of faces that share an edge.

    Edges are matched by position, so meshes whose vertices are doubled along seams stay connected.
    """
    from scipy.sparse import coo_matrix

    places = np.round(asset.vertices / max(asset.radius, 1e-9), 6)
    _, welded = np.unique(places, axis=0, return_inverse=True)
    faces = welded.reshape(-1)[asset.faces]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(edges.T)
    edges, owner = edges[order], owner[order]
    same = (edges[1:] == edges[:-1]).all(1)
    a, b = owner[:-1][same], owner[1:][same]
    middles = asset.vertices[asset.faces].mean(1)
    distance = np.linalg.norm(middles[a] - middles[b], axis=-1) + 1e-6 * asset.radius
    shape = (len(faces), len(faces))
    both = (np.concatenate([a, b]), np.concatenate([b, a]))
    return coo_matrix((np.tile(distance, 2), both), shape).tocsr()


def _smoothed(values: Float[ndarray, "F P"], neighbors) -> Float[ndarray, "F P"]:
    """Values plus a share of the neighbors' mean, near ones counting more."""
    weights = neighbors.copy()
    weights.data = 1 / weights.data
    total = np.asarray(weights.sum(1))
    return values + NEIGHBOR_WEIGHT * (weights @ values) / np.maximum(total, 1e-12)


def _filled(asset: Asset, labels: ndarray, is_seen: ndarray, neighbors) -> Int[ndarray, "F"]:
    """Unseen faces take the label of the nearest seen one, along the surface where it is connected."""
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import KDTree

    if is_seen.all() or not is_seen.any():
        return labels
    sources = np.flatnonzero(is_seen)
    distance, _, nearest = dijkstra(
        neighbors, indices=sources, min_only=True, return_predecessors=True
    )
    filled = labels.copy()
    reached = ~is_seen & np.isfinite(distance)
    filled[reached] = labels[nearest[reached]]
    apart = np.flatnonzero(~is_seen & ~reached)  # closed surfaces inside others, such as axles
    if len(apart):
        middles = asset.vertices[asset.faces].mean(1)
        _, closest = KDTree(middles[sources]).query(middles[apart])
        filled[apart] = labels[sources[closest]]
    return filled


def _mean(scores: Float[ndarray, " P"]) -> float:
    """Mean score of the parts that were found; 0 in a view that shows none."""
    return float(scores[scores > 0].mean()) if (scores > 0).any() else 0.0


def _unseen_message(
    asset: Asset, parts: Sequence[str], phrases: Sequence[str], part_names: Sequence[str]
) -> str:
    named = "; ".join(
        f"'{part}' (looked for as \"{phrases[list(part_names).index(part)]}\")" for part in parts
    )
    return (
        f"parts: object '{asset.name}' shows no part {named} in any of "
        f"{sum(len(azimuths) for _, azimuths in VIEWS)} views. Use other part names (--pag), a mesh "
        "whose sub-meshes carry the parts' names, or a file NAME.parts.json beside it"
    )
