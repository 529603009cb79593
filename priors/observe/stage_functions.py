"""What every stage computes, from typed inputs to plain arrays and a JSON value.

The functions know the roles' protocols (`priors.protocols`), never a model.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.affordance.graph import WHOLE_PART, PartAffordanceGraph
from hoijax.bundle.evidence import GROUPS, guessed_intrinsics
from hoijax.bundle.observations import Observations
from hoijax.errors import UserError
from hoijax.geometry.camera import camera_pitch
from hoijax.io.validation import numbered
from hoijax.rendering.small_images import color_images
from priors.masks import mask_boxes
from priors.models.from_files import frames_of
from priors.models.hands import with_hands
from priors.observe.assemble import assemble
from priors.observe.doubted_keypoints import doubted
from priors.observe.doubted_objects import doubts_about_objects
from priors.observe.request_checks import known_parts
from priors.observe.stage_inputs import Content, Inputs
from priors.observe.tracking import EntityMasks, find_and_track, masks_from_labels
from priors.protocols import BodyMotion, LiftingKeypointModel
from priors.settings import Request

BODY = "anny"
WITHOUT_POINTS = [
    key for group in ("object points", "part labels", "person points") for key in GROUPS[group]
]
"""Arrays that a bundle lacks of a clip without point maps."""


# ---- pag


def write_graph(inputs: Inputs) -> Content:
    """The graph of the sentence, checked against the objects."""
    request = inputs.request
    graph = inputs.models["language"].graph(request.text, request.assets, inputs.settings.seed)
    return _graph_content(graph, request)


def given_graph(request: Request) -> Content | None:
    return None if request.pag is None else _graph_content(request.pag, request)


def _graph_content(graph: PartAffordanceGraph, request: Request) -> Content:
    problems = graph.check_against(known_parts(request, graph))
    if problems:
        raise UserError(f"the graph does not fit the objects:\n{numbered(problems)}")
    nodes = {node.name: node for node in graph.objects}
    ordered = graph.model_copy(update={"objects": tuple(nodes[a.name] for a in request.assets)})
    return {}, {"graph": ordered.model_dump(mode="json")}


# ---- parts


def unlabeled_assets(request: Request) -> list[Any]:
    """What the part stage depends on: the meshes that bring no parts."""
    return [[a.name, a.vertices, a.faces] for a in request.assets if not a.part_names]


def label_parts(inputs: Inputs) -> Content:
    """Parts of the meshes that bring none, by votes of part masks in rendered views."""
    from priors.observe.part_voting import vote_parts

    arrays: dict[str, np.ndarray] = {}
    names: dict[str, list[str]] = {}
    for o, (asset, node) in enumerate(
        zip(inputs.request.assets, inputs.graph().objects, strict=True)
    ):
        wanted = tuple(part for part in node.parts if part != WHOLE_PART)
        if asset.part_names or not wanted:
            continue
        labeled = vote_parts(asset, wanted, inputs.models["detector"], inputs.models["segmenter"])
        arrays[f"face_parts_{o}"] = labeled.face_parts
        arrays[f"sample_parts_{o}"] = labeled.sample_parts
        names[str(o)] = list(wanted)
    return arrays, {"part_names": names}


# ---- image and video


def draw_image(inputs: Inputs) -> Content:
    """Images of the moment, the best of those that show all people whole."""
    from priors.models.image_choice import (
        Drawing,
        Finders,
        draw_candidates,
        score_candidates,
        select_image,
    )

    settings, models, graph = inputs.settings, inputs.models, inputs.graph()
    prompt = graph.video_prompt or inputs.request.text
    people = len(graph.people)
    finders = Finders(models["detector"], models["keypoints"], models["segmenter"])
    drawing = Drawing(
        settings.height,
        settings.width,
        people,
        settings.seed,
        settings.image_tries,
        settings.image_candidates,
        settings.image_thresholds,
    )
    images, scores, seeds = draw_candidates(models["image"], prompt, drawing, finders)
    chooser = models.get("score")
    judge = chooser if hasattr(chooser, "prefers_second") else None
    if chooser is not None and judge is None:
        scores = score_candidates(
            images,
            people=people,
            finders=finders,
            text=inputs.request.text,
            text_score=chooser,
        )
    chosen = select_image(
        images,
        scores,
        threshold=settings.image_thresholds[1],
        judge=judge,
        question=inputs.request.text,
    )
    poses = [round(score.pose, 3) for score in scores]
    value = {"seed": int(seeds[chosen]), "prompt": prompt, "candidates": poses}
    return {"image": images[chosen]}, value


def given_image(request: Request) -> Content | None:
    return None if request.image is None else ({"image": request.image}, {"given": True})


def make_video(inputs: Inputs) -> Content:
    """A clip that starts with the image."""
    settings = inputs.settings
    prompt = inputs.graph().video_prompt or inputs.request.text
    image = inputs.entries["image"].arrays["image"]
    made = inputs.models["video"].generate(
        image, prompt, frames=settings.frames, seed=settings.seed
    )
    if len(made.frames) < settings.frames:
        raise UserError(
            f"the model made {len(made.frames)} frames, {settings.frames} are asked for. Give "
            f"--frames {len(made.frames)}, or choose another video model"
        )
    value = {"fps": float(made.fps), "prompt": prompt}
    return {"frames": made.frames[: settings.frames]}, value


def given_video(request: Request) -> Content | None:
    if request.video is None:
        return None
    return {"frames": request.video.frames}, {"fps": float(request.video.fps)}


# ---- masks, point maps, keypoints, body


def track_masks(inputs: Inputs) -> Content:
    """People, objects and parts in every frame."""
    masks = find_and_track(
        inputs.video().frames,
        inputs.graph(),
        inputs.assets(),
        inputs.models["detector"],
        inputs.models["segmenter"],
        inputs.settings.frames_searched,
        inputs.request.hints,
        inputs.request.origin,
        inputs.log,
    )
    return _mask_content(masks)


def given_masks(request: Request) -> Content | None:
    """Of label images; how many people there are, the highest label and the objects tell."""
    masks = request.masks
    if masks is None or request.video is None:
        return None
    objects = len(request.assets)
    people = max(int(masks.instance_ids.max()) - objects, 1)
    if request.pag is not None:
        people = len(request.pag.people)
    count = len(request.video.frames)
    parts = None if masks.part_ids is None else masks.part_ids[:count]
    return _mask_content(
        masks_from_labels(
            masks.instance_ids[:count], parts, people, [len(a.part_names) for a in request.assets]
        )
    )


def _mask_content(masks: EntityMasks) -> Content:
    return {field.name: getattr(masks, field.name) for field in dataclasses.fields(masks)}, None


def map_points(inputs: Inputs) -> Content:
    """3D points of every pixel."""
    frames, given = inputs.video().frames, inputs.request.intrinsics
    count, height, width = frames.shape[:3]
    if given is not None and inputs.request.video is None:  # then they are the image's
        assert inputs.request.image is not None, "checked_request refuses intrinsics of neither"
        given = given.cropped(inputs.request.image.shape[1::-1], (width, height))
    camera = None if given is None else frames_of(given, count, height, width)
    if inputs.models["geometry"] is None:
        if camera is None:
            camera = np.tile(guessed_intrinsics(height, width), (count, 1, 1))
            inputs.log(
                f"points: no camera is given; a focal length of {camera[0, 0, 0]:.0f} pixels, the image's "
                "diagonal, is a start (--intrinsics)"
            )
        return {"intrinsics": camera.astype(np.float32)}, {"guessed": given is None}
    maps = inputs.models["geometry"].point_maps(frames, camera)
    good = maps.valid & np.isfinite(maps.points).all(-1) & (maps.points[..., 2] > 0)
    if not good.any():
        raise UserError(
            "the geometry model gave no valid point in any frame. Choose another model with "
            "--geometry, or another clip"
        )
    points = np.where(good[..., None], maps.points, 0).astype(np.float32)
    return {"points": points, "valid": good, "intrinsics": maps.intrinsics.astype(np.float32)}, None


def find_keypoints(inputs: Inputs) -> Content:
    """OpenPose-18 of every person, in the box of the person's mask; what masks contradict is less sure."""
    frames, model = inputs.video().frames, inputs.models["keypoints"]
    masks, keypoints, lifts = inputs.masks(), [], []
    for p, mask in enumerate(masks.people):
        boxes, present = mask_boxes(mask)
        if isinstance(model, LiftingKeypointModel):
            lifted = model.lifted_keypoints(frames, boxes, present)
            points = lifted[..., :3]
            lifts.append(np.where(present[:, None], lifted[..., 3], np.nan).astype(np.float32))
        else:
            points = model.keypoints(frames, boxes, present)
        points = doubted(np.nan_to_num(points), mask, _around(masks, p))
        keypoints.append(np.where(present[:, None, None], points, 0).astype(np.float32))
    found = np.nan_to_num(np.stack(keypoints))
    _say_doubts(inputs, masks, found)
    return {"keypoints": found} | ({"lifts": np.stack(lifts)} if lifts else {}), None


def _say_doubts(inputs: Inputs, masks: EntityMasks, keypoints: Float[ndarray, "P T 18 3"]) -> None:
    """What can hardly be the object that was asked for."""
    assets = inputs.request.assets
    sides = np.array([asset.extents for asset in assets], np.float64).reshape(-1, 3)
    names = [asset.name for asset in assets]
    for doubt in doubts_about_objects(names, sides, masks.objects, masks.people, keypoints):
        inputs.log(f"masks: {doubt}")


def _around(masks: EntityMasks, person: int) -> Bool[ndarray, "T H W"]:
    """Other people and objects, which may hide the person."""
    others = [*np.delete(masks.people, person, axis=0), *masks.objects]
    return np.any(others, axis=0) & ~masks.people[person]


def recover_bodies(inputs: Inputs) -> Content:
    """The motion of every person, each in the world of its own recovery."""
    model, masks, maps = inputs.models["body"], inputs.masks(), inputs.point_maps()
    hands = inputs.models.get("hands")
    seen = inputs.entries["keypoints"].arrays
    keypoints, bodies = seen["keypoints"], []
    for p, points in enumerate(keypoints):
        if not (points[..., 2] > 0).any():
            raise UserError(
                f"person {p + 1} has no keypoint in any frame. Use another keypoint model "
                "(--keypoints), another --seed, or your own clip (--video)"
            )
        lifted = {"lifts": seen["lifts"][p]} if "lifts" in seen else {}
        given = points, masks.people[p], maps, _around(masks, p)
        motion = model.recover(inputs.video(), *given, **lifted)
        if hands is not None:
            motion = with_hands(motion, hands.hands(inputs.video().frames, points))
        bodies.append(motion)
    inputs.log(_tilt_line(bodies[0].Ts_world_camera[0]))
    width = max(len(body.betas) for body in bodies)
    padded = [
        dataclasses.replace(body, betas=np.pad(body.betas, (0, width - len(body.betas))))
        for body in bodies
    ]
    names = [field.name for field in dataclasses.fields(BodyMotion)]
    arrays = {name: np.stack([getattr(body, name) for body in padded]) for name in names}
    return arrays, {"body": getattr(model, "body_name", BODY)}


def _tilt_line(T_world_camera: Float[ndarray, "4 4"]) -> str:
    """How the camera is held, for the user."""
    down = camera_pitch(T_world_camera)
    if down == 0.0:
        return "body: nothing tells how the camera is tilted; it is taken to be level"
    return f"body: the camera looks {abs(down):.0f} degrees {'down' if down > 0 else 'up'}"


def assemble_bundle(inputs: Inputs) -> Content:
    """The observations."""
    seen, wanted = len(inputs.masks().people), len(inputs.graph().people)
    if seen != wanted:
        raise UserError(
            f"the masks show {seen} people, the graph has {wanted}. Give masks and a graph (--pag) "
            "of the same people"
        )
    observations: Observations = assemble(
        inputs.masks(),
        inputs.point_maps(),
        inputs.entries["keypoints"].arrays["keypoints"],
        inputs.bodies(),
        [len(asset.part_names) for asset in inputs.assets()],
        inputs.settings.seed,
    )
    if any(asset.appearance for asset in inputs.assets()):
        colors = color_images(inputs.video().frames)
        observations = dataclasses.replace(observations, color_images=colors)
    absent = [] if "points" in inputs.entries["points"].arrays else WITHOUT_POINTS
    if (inputs.entries["points"].value or {}).get("guessed"):
        absent = ["intrinsics", *absent]
    names = Observations.__dataclass_fields__
    arrays = {name: np.asarray(getattr(observations, name)) for name in names}
    return arrays, {"absent": absent}


def propose_yaws(inputs: Inputs) -> Content:
    """Likely turns of every object, by the language model; none by one that proposes none."""
    from priors.observe.yaw_proposals import YawModel, describe_situation, distinct_yaws

    model, yaws = inputs.models["language"], {}
    if isinstance(model, YawModel):
        seen = Observations(**inputs.entries["bundle"].arrays)
        text, seed = inputs.request.text, inputs.settings.seed
        for o, asset in enumerate(inputs.assets()):
            situation = describe_situation(inputs.graph(), inputs.assets(), seen, o)
            proposed = model.propose_yaws(text, asset.name, situation, seed)
            yaws[asset.name] = distinct_yaws(proposed)
    return {}, {"yaws": yaws}
