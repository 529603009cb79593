"""Bodies on the SMPL-X joint tree: the free Anny body that ships, or a user's SMPL-X / SMPL-H file."""

from hoijax.bodies.anny import load_anny as load_anny
from hoijax.bodies.parts import BODY_PARTS as BODY_PARTS
from hoijax.bodies.parts import part_vertex_indices as part_vertex_indices
from hoijax.bodies.skinned_body import JOINT_NAMES as JOINT_NAMES
from hoijax.bodies.skinned_body import JOINT_PARENTS as JOINT_PARENTS
from hoijax.bodies.skinned_body import PosedBody as PosedBody
from hoijax.bodies.skinned_body import ShapedBody as ShapedBody
from hoijax.bodies.skinned_body import SkinnedBody as SkinnedBody


def load_body(spec: str) -> SkinnedBody:
    """The body named by `spec`: "anny" (ships with hoijax) or the path of an SMPL-X / SMPL-H npz file. UserError on anything else."""
    if spec == "anny":
        return load_anny()
    from hoijax.bodies.smplx import load_smplx

    return load_smplx(spec)
