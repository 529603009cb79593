"""Loss terms: factories for users (`hoijax.losses.contact(10.0)`); each function lies in a module here."""

from hoijax.losses.factories import (
    body_ground as body_ground,
)
from hoijax.losses.factories import (
    body_keypoints as body_keypoints,
)
from hoijax.losses.factories import (
    body_mask as body_mask,
)
from hoijax.losses.factories import (
    body_points as body_points,
)
from hoijax.losses.factories import (
    body_smoothness as body_smoothness,
)
from hoijax.losses.factories import (
    contact as contact,
)
from hoijax.losses.factories import (
    contact_drift as contact_drift,
)
from hoijax.losses.factories import (
    contact_keypoints as contact_keypoints,
)
from hoijax.losses.factories import (
    finger_prior as finger_prior,
)
from hoijax.losses.factories import (
    foot_clearance as foot_clearance,
)
from hoijax.losses.factories import (
    foot_lock as foot_lock,
)
from hoijax.losses.factories import (
    foot_slip as foot_slip,
)
from hoijax.losses.factories import (
    ground as ground,
)
from hoijax.losses.factories import (
    joint_limits as joint_limits,
)
from hoijax.losses.factories import (
    model_mask as model_mask,
)
from hoijax.losses.factories import (
    object_in_body as object_in_body,
)
from hoijax.losses.factories import (
    object_joint_limits as object_joint_limits,
)
from hoijax.losses.factories import (
    object_joint_smoothness as object_joint_smoothness,
)
from hoijax.losses.factories import (
    object_penetration as object_penetration,
)
from hoijax.losses.factories import (
    object_points as object_points,
)
from hoijax.losses.factories import (
    part_points as part_points,
)
from hoijax.losses.factories import (
    penetration as penetration,
)
from hoijax.losses.factories import (
    pose_prior as pose_prior,
)
from hoijax.losses.factories import (
    rendered_colors as rendered_colors,
)
from hoijax.losses.factories import (
    rendered_depth as rendered_depth,
)
from hoijax.losses.factories import (
    rendered_masks as rendered_masks,
)
from hoijax.losses.factories import (
    rotation_smoothness as rotation_smoothness,
)
from hoijax.losses.factories import (
    self_penetration as self_penetration,
)
from hoijax.losses.factories import (
    translation_smoothness as translation_smoothness,
)
