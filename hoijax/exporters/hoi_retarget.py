"""What HOI-Retarget (ETH Zurich) reads: InterMimic's tensor, and a mesh about its centroid.

From its published reader and data guide: a (T, 591) tensor in InterMimic's columns whose first frame is
dropped, with contact labels of every link; object poses turn about the centroid of the mesh's vertices.
`hoi-retarget-stage-object MESH.obj --name NAME --assets-root DIR` then writes its URDF and samples.
"""

import dataclasses
from pathlib import Path

import numpy as np

from hoijax.exporters.clip import Clip
from hoijax.exporters.intermimic import intermimic_motion
from hoijax.exporters.mujoco import write_obj
from hoijax.exporters.options import ExportOptions

FORMAT = "hoi-retarget"


def about_centroids(clip: Clip) -> Clip:
    """The same scene with every mesh's origin at the mean of its (different) vertices."""
    poses, assets = np.array(clip.Ts_world_object, np.float64), []
    for o, asset in enumerate(clip.assets):
        middle = np.unique(asset.vertices, axis=0).astype(np.float64).mean(axis=0)
        poses[o, :, :3, 3] += poses[o, :, :3, :3] @ middle
        moved = {
            name: (getattr(asset, name) - middle).astype(np.float32)
            for name in ("vertices", "samples")
        }
        assets.append(dataclasses.replace(asset, **moved, appearance=None))
    return dataclasses.replace(clip, assets=tuple(assets), Ts_world_object=poses.astype(np.float32))


def write(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    """hoi_retarget.npz of every person and object, and hoi_retarget_object_1.obj of every object.

    `motion` (T + 1, 591): `torch.save(torch.from_numpy(np.load(path)["motion"]), "clip.pt")`.
    """
    clip, paths = about_centroids(clip), []
    for p in range(len(clip.people)):
        for o in range(max(len(clip.assets), 1)):
            motion = intermimic_motion(clip, p, o)
            name = "hoi_retarget" if o == 0 else f"hoi_retarget_object_{o + 1}"
            path = folder / (f"{name}.npz" if p == 0 else f"{name}_person_{p + 1}.npz")
            # Its first frame is not read.
            np.savez_compressed(path, motion=np.concatenate([motion[:1], motion]))
            paths.append(path)
    meshes = [
        write_obj(folder / f"hoi_retarget_object_{o + 1}.obj", asset)
        for o, asset in enumerate(clip.assets)
    ]
    return paths + meshes
