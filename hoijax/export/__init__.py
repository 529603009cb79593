"""Results for other programs: docs/exports.md describes every format; resampling, trimming, looping.

The package can be called: `hoijax.export(result, folder, ["glb"])` is `hoijax.pipeline.export`, whether
or not something imported the package, which has the same name, before.
"""

import sys
from types import ModuleType
from typing import Any

from hoijax.export.amass import AmassMotion, load_amass, save_amass
from hoijax.export.bvh import save_bvh
from hoijax.export.clip import Clip, PersonClip, clip_from_result, make_person, turned_clip
from hoijax.export.gltf import save_glb
from hoijax.export.interact import save_interact_human, save_interact_object
from hoijax.export.intermimic import save_intermimic
from hoijax.export.mujoco import save_mujoco
from hoijax.export.omomo import save_omomo
from hoijax.export.resample import loop_clip, resample_clip, trim_clip
from hoijax.export.usd import save_usd
from hoijax.export.video import save_preview

__all__ = [
    "AmassMotion",
    "Clip",
    "PersonClip",
    "clip_from_result",
    "load_amass",
    "loop_clip",
    "make_person",
    "resample_clip",
    "save_amass",
    "save_bvh",
    "save_glb",
    "save_interact_human",
    "save_interact_object",
    "save_intermimic",
    "save_mujoco",
    "save_omomo",
    "save_preview",
    "save_usd",
    "trim_clip",
    "turned_clip",
]


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from hoijax.pipeline import export

        return export(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
