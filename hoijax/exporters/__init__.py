"""Results for other programs: docs/exports.md describes every format; resampling, trimming, looping."""

from hoijax.exporters.amass import save_amass
from hoijax.exporters.bvh import save_bvh
from hoijax.exporters.clip import Clip, PersonClip, clip_from_result, make_person, turned_clip
from hoijax.exporters.gltf import save_glb
from hoijax.exporters.interact import save_interact_human, save_interact_object
from hoijax.exporters.intermimic import save_intermimic
from hoijax.exporters.mujoco import save_mujoco
from hoijax.exporters.omomo import save_omomo
from hoijax.exporters.resample import loop_clip, resample_clip, trim_clip
from hoijax.exporters.usd import save_usd
from hoijax.exporters.video import save_preview

__all__ = [
    "Clip",
    "PersonClip",
    "clip_from_result",
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
