"""Body motion from keypoints and point maps: our own fit, for users without a recovery model."""

from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.fitting.person import fit_person
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.errors import UserError
from priors.protocols import BodyMotion, ModelId

MODEL_ID = ModelId("hoijax-body-fit", "9")


def fit_body(
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "_ 3 3"],
    Ts_world_camera: Float[ndarray, "_ 4 4"],
    *,
    body: SkinnedBody,
    person_points: Float[ndarray, "_ M 3"] | None = None,
    person_point_mask: Bool[ndarray, "_ M"] | None = None,
    **options,
) -> BodyMotion:
    """`fit_person`, whose options these are, as the motion of a prior.

    Raises UserError where no frame has usable keypoints, or where arrays disagree.
    """
    points, mask = person_points, person_point_mask
    _check(len(keypoints), intrinsics, Ts_world_camera, points, mask)
    given = {"person_points": points, "person_point_mask": mask, **options}
    fit = fit_person(keypoints, intrinsics, Ts_world_camera, body=body, **given)
    return BodyMotion(
        rotations=fit.rotations,
        translations=fit.translations,
        betas=fit.betas,
        rest_joints=fit.rest_joints,
        Ts_world_camera=fit.Ts_world_camera,
    )


def _check(frames, intrinsics, Ts_world_camera, points, mask) -> None:
    sizes = {"intrinsics": intrinsics, "Ts_world_camera": Ts_world_camera, "person_points": points}
    for name, array in sizes.items():
        if array is not None and len(array) != frames:
            raise UserError(f"{name} has {len(array)} frames, but the keypoints have {frames}.")
    if (points is None) != (mask is None):
        raise UserError("person_points and person_point_mask go together: give both or neither.")
    if frames < 3:
        raise UserError(f"a body motion needs at least 3 frames, got {frames}.")
