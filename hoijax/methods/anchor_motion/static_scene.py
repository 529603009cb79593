"""A frame of a result folder as the static scene that contacts are read off."""

from pathlib import Path

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.results.result import load_result
from hoijax.scene.build_bodies import StaticScene


def load_static(path: str | Path, bundle: Bundle, frame: int = 0) -> StaticScene:
    """A frame of a result folder as static scene. UserError where it does not fit the bundle."""
    result = load_result(path)
    if result.body_name != bundle.body:
        raise UserError(
            f"the static scene '{path}' has the body '{result.body_name}', the bundle "
            f"'{bundle.body}': their vertices differ. Compose the static scene with --body "
            f"{bundle.body}."
        )
    people, frames = result.body_rotations.shape[:2]
    if people != bundle.observations.person_count:
        raise UserError(
            f"the static scene '{path}' has {people} people, the bundle "
            f"{bundle.observations.person_count}."
        )
    names = [asset.name for asset in result.assets]
    wanted = [asset.name for asset in bundle.assets]
    if names != wanted:
        raise UserError(
            f"the static scene '{path}' has the objects {names}, the bundle {wanted}: contact "
            "keypoints need the same objects in the same order."
        )
    if not 0 <= frame < frames:
        raise UserError(f"the static scene '{path}' has frames 0 to {frames - 1}, not {frame}.")
    return StaticScene(
        result.body_rotations[:, frame],
        result.body_translations[:, frame],
        result.Ts_world_object[:, frame],
    )
