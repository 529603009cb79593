"""Many different bundles from one: other objects, parts, contacts, numbers of points, image sizes."""

import dataclasses

import numpy as np

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.write import Bundle
from hoijax.objects.asset import load_asset

OBJECTS = ("box", "barbell", "chair", "broom", "suitcase", "skateboard", "table", "ball")
BODY_PARTS = ("left_hand", "right_foot", "hips", "head", "right_arm", "left_leg")


def variant(base: Bundle, number: int) -> Bundle:
    """Bundle `number`: the observed points of `base`, said to be those of another object."""
    rng = np.random.default_rng(number)
    asset = load_asset(OBJECTS[number % len(OBJECTS)], scale=0.5, samples=1024)
    thing = base.affordance.objects[0].model_copy(
        update={"name": asset.name, "parts": asset.part_names}
    )
    first = base.affordance.edges[0]
    edges = tuple(
        first.model_copy(
            update={
                "first": first.first.model_copy(update={"part": part}),
                "second": first.second.model_copy(
                    update={
                        "entity": asset.name,
                        "part": asset.part_names[i % len(asset.part_names)],
                    }
                ),
            }
        )
        for i, part in enumerate(BODY_PARTS[: 1 + number % len(BODY_PARTS)])
    )
    graph = base.affordance.model_copy(update={"objects": (thing,), "edges": edges})
    graph = PartAffordanceGraph.from_json(graph.to_json())
    o = base.observations
    points = int(rng.integers(60, 250))
    parts = np.where(o.object_point_parts >= 0, o.object_point_parts % len(asset.part_names), -1)
    wider = int(rng.integers(0, 40))
    seen = dataclasses.replace(
        o,
        object_points=o.object_points[:, :, :points],
        object_pixels=o.object_pixels[:, :, :points],
        object_point_mask=o.object_point_mask[:, :, :points],
        object_point_parts=parts[:, :, :points].astype(np.int32),
        person_points=o.person_points[:, :, : points + 10],
        person_pixels=o.person_pixels[:, :, : points + 10],
        person_point_mask=o.person_point_mask[:, :, : points + 10],
        instance_ids=np.pad(o.instance_ids, ((0, 0), (0, wider), (0, wider))),
    )
    return dataclasses.replace(base, affordance=graph, assets=(asset,), observations=seen)
