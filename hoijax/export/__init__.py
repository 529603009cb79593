"""Results for other programs: AMASS npz, animated GLB, preview video."""

from hoijax.export.amass import AmassMotion, load_amass, save_amass
from hoijax.export.clip import Clip, PersonClip, clip_from_result, make_person
from hoijax.export.gltf import save_glb
from hoijax.export.video import save_preview

__all__ = [
    "AmassMotion",
    "Clip",
    "PersonClip",
    "clip_from_result",
    "load_amass",
    "make_person",
    "save_amass",
    "save_glb",
    "save_preview",
]
