"""Bodies on the SMPL-X joint tree: the free Anny body that ships, or a user's SMPL-X / SMPL-H file."""

from hoijax.bodies.anny import load_anny as load_anny
from hoijax.bodies.contact import RELAXED_HAND_POSE as RELAXED_HAND_POSE
from hoijax.bodies.contact import contact_candidates as contact_candidates
from hoijax.bodies.keypoints import OPENPOSE_18 as OPENPOSE_18
from hoijax.bodies.keypoints import openpose18 as openpose18
from hoijax.bodies.keypoints import openpose18_from as openpose18_from
from hoijax.bodies.kinematics import JOINT_NAMES as JOINT_NAMES
from hoijax.bodies.kinematics import JOINT_PARENTS as JOINT_PARENTS
from hoijax.bodies.kinematics import rotations_from_smplh as rotations_from_smplh
from hoijax.bodies.parts import BODY_PARTS as BODY_PARTS
from hoijax.bodies.parts import part_vertex_indices as part_vertex_indices
from hoijax.bodies.skinned_body import PosedBody as PosedBody
from hoijax.bodies.skinned_body import ShapedBody as ShapedBody
from hoijax.bodies.skinned_body import SkinnedBody as SkinnedBody
from hoijax.bodies.smplx import load_smplx as load_smplx


def load_body(spec: str) -> SkinnedBody:
    """The body named by `spec`: "anny" (ships with hoijax), or the path of an SMPL-X or SMPL-H npz file.

    UserError on anything else.
    """
    if spec == "anny":
        return load_anny()
    return load_smplx(spec)
