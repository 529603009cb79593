"""What a stage may see: the request, earlier results typed, settings, models."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.objects.asset import Asset
from hoijax.progress import Log, silent
from priors.observe.tracking import EntityMasks
from priors.protocols import BodyMotion, PointMaps, Video
from priors.settings import ObserveSettings, Request
from priors.store import Entry

Content = tuple[dict[str, np.ndarray], Any]
"""What is stored of a result: arrays and a JSON value."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a stage may see."""

    request: Request
    settings: ObserveSettings
    models: Mapping[str, Any]
    entries: Mapping[str, Entry]
    log: Log = silent

    def graph(self) -> PartAffordanceGraph:
        """Its objects in the order of the assets."""
        return PartAffordanceGraph.model_validate(self.entries["pag"].value["graph"])

    def assets(self) -> tuple[Asset, ...]:
        """The objects with the parts that were found on them."""
        if "parts" not in self.entries:
            return self.request.assets
        return tuple(
            _with_parts(asset, o, self.entries["parts"])
            for o, asset in enumerate(self.request.assets)
        )

    def video(self) -> Video:
        entry = self.entries["video"]
        return Video(entry.arrays["frames"], float(entry.value["fps"]))

    def masks(self) -> EntityMasks:
        return EntityMasks(**self.entries["masks"].arrays)

    def point_maps(self) -> PointMaps:
        """Maps that say nothing where no geometry model was asked for."""
        arrays = self.entries["points"].arrays
        if "points" not in arrays:
            return PointMaps.unknown(arrays["intrinsics"], *self.video().frames.shape[1:3])
        return PointMaps(**arrays)

    def bodies(self) -> list[BodyMotion]:
        arrays = self.entries["body"].arrays
        names = [field.name for field in dataclasses.fields(BodyMotion)]
        count = len(arrays[names[0]])
        return [BodyMotion(**{name: arrays[name][p] for name in names}) for p in range(count)]


def _with_parts(asset: Asset, index: int, entry: Entry) -> Asset:
    names = entry.value["part_names"].get(str(index))
    if names is None:
        return asset
    return dataclasses.replace(
        asset,
        part_names=tuple(names),
        face_parts=entry.arrays[f"face_parts_{index}"],
        sample_parts=entry.arrays[f"sample_parts_{index}"],
    )
