"""Objects with joints: rigid links in a kinematic tree, each with its own mesh, samples and distances.

Joint frames follow URDF: a joint sits at `T_parent_joint` in its parent link, turns about or slides along an
axis through its own origin, and its child link's frame is the joint's frame after the motion. So everything
that lives per link (surface samples, distance grids, part labels) is fixed in that link's frame, as for a
rigid object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.errors import UserError
from hoijax.objects.articulated.joints import FIXED, PRISMATIC, Joint, joint_problems
from hoijax.objects.asset import Asset

AnyArray = Array | np.ndarray


@dataclass(frozen=True)
class ArticulatedAsset:
    """A named object of links and joints. Link 0 is the root, at `T_asset_root` in the object's frame.

    Links without a surface (frames only) have None for an asset. Link i > 0 is the child of joint i - 1.
    """

    name: str
    link_names: tuple[str, ...]
    links: tuple[Asset | None, ...]
    joints: tuple[Joint, ...]
    T_asset_root: Float[np.ndarray, "4 4"]

    def tree(self) -> KinematicTree:
        """The kinematics as arrays."""
        moving = [joint for joint in self.joints if joint.kind != FIXED]
        slots = {joint.name: slot for slot, joint in enumerate(moving)}
        return KinematicTree(
            Ts_parent_joint=_stack([self.T_asset_root, *(j.T_parent_joint for j in self.joints)]),
            axes=_stack([np.zeros(3), *(j.axis for j in self.joints)]),
            lower=np.array([j.lower for j in moving], np.float32),
            upper=np.array([j.upper for j in moving], np.float32),
            parents=(-1, *(j.parent for j in self.joints)),
            slots=(-1, *(slots.get(j.name, -1) for j in self.joints)),
            slides=(False, *(j.kind == PRISMATIC for j in self.joints)),
        )


def _stack(rows: list[np.ndarray]) -> np.ndarray:
    return np.stack(rows).astype(np.float32)


@flax.struct.dataclass
class KinematicTree:
    """Kinematics of L links with D moving joints. Structure is static, numbers are traced."""

    Ts_parent_joint: Float[AnyArray, "... L 4 4"]
    axes: Float[AnyArray, "... L 3"]
    lower: Float[AnyArray, "... D"]
    upper: Float[AnyArray, "... D"]
    parents: tuple[int, ...] = flax.struct.field(pytree_node=False)
    slots: tuple[int, ...] = flax.struct.field(pytree_node=False)
    slides: tuple[bool, ...] = flax.struct.field(pytree_node=False)


def pose_links(
    tree: KinematicTree, values: Float[AnyArray, " D"], T_world_asset: Float[AnyArray, "4 4"]
) -> Float[Array, "L 4 4"]:
    """Ts_world_link of one frame; vmap over frames. Values beyond the limits are taken as they are."""
    origins, axes = jnp.asarray(tree.Ts_parent_joint), jnp.asarray(tree.axes)
    values = jnp.asarray(values)
    posed: list[Array] = [_compose(jnp.asarray(T_world_asset), origins[0])]
    for link in range(1, len(tree.parents)):
        T = _compose(posed[tree.parents[link]], origins[link])
        slot = tree.slots[link]
        if slot >= 0 and tree.slides[link]:
            T = T.at[:3, 3].add(jnp.sum(T[:3, :3] * (values[slot] * axes[link]), axis=1))
        elif slot >= 0:
            turn = rotation_about(axes[link], values[slot])
            T = T.at[:3, :3].set(_product(T[:3, :3], turn))
        posed.append(T)
    return jnp.stack(posed)


def resting_extents(asset: ArticulatedAsset) -> Float[np.ndarray, 3]:
    """Sides of the box around an object whose joints are at zero, or at the nearest value they may take."""
    tree = asset.tree()
    values = np.clip(np.zeros(len(tree.lower), np.float32), tree.lower, tree.upper)
    Ts = np.asarray(pose_links(tree, values, np.eye(4, dtype=np.float32)))
    points = np.concatenate(
        [
            link.vertices @ T[:3, :3].T + T[:3, 3]
            for link, T in zip(asset.links, Ts, strict=True)
            if link is not None
        ]
    )
    return np.ptp(points, axis=0)


def _product(a: Array, b: Array) -> Array:
    """Matrix product by multiply and sum: exact float32 on every device."""
    return jnp.sum(a[:, :, None] * b[None], axis=1)


def _compose(T_a_b: Array, T_b_c: Array) -> Array:
    return _product(T_a_b, T_b_c)


def rotation_about(axis: Float[Array, " 3"], angle: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Rodrigues' formula for a unit axis; smooth in the angle everywhere."""
    x, y, z = axis[0], axis[1], axis[2]
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    square = _product(cross, cross)
    return jnp.eye(3) + jnp.sin(angle) * cross + (1.0 - jnp.cos(angle)) * square


def assemble(
    name: str,
    links: Mapping[str, Asset | None],
    joints: list[tuple[str, str, str, str, np.ndarray, np.ndarray, tuple[float, float]]],
    T_asset_root: np.ndarray | None = None,
    where: str | None = None,
) -> ArticulatedAsset:
    """Order links from the root outwards and check the tree.

    A joint is (name, kind, parent link, child link, T_parent_joint, axis, limits). UserError, with every
    problem at once: unknown links or kinds, several parents, loops, several roots, a zero axis, limits
    upside down or not finite.
    """
    where = where or f"articulated object '{name}'"
    problems = joint_problems(links, joints)
    children = [joint[3] for joint in joints]
    roots = [link for link in links if link not in children]
    if not problems and len(roots) != 1:
        problems.append(
            f"it needs one root link, found {len(roots)}: {', '.join(roots) or 'a loop'}"
        )
    order, made = roots[:1], []
    while not problems and len(order) < len(links):
        ready = [j for j in joints if j[2] in order and j[3] not in order]
        if not ready:
            left = sorted(set(links) - set(order))
            problems.append(f"links {', '.join(left)} hang on each other in a loop")
            break
        for label, kind, parent, child, T, axis, (lower, upper) in ready:
            unit = np.asarray(axis, np.float64) / max(float(np.linalg.norm(axis)), 1e-12)
            made.append(
                Joint(
                    label,
                    kind,
                    order.index(parent),
                    len(order),
                    T,
                    unit,
                    float(lower),
                    float(upper),
                )
            )
            order.append(child)
    if not problems and all(link is None for link in links.values()):
        problems.append("no link has a surface")
    if problems:
        raise UserError(f"{where} is not a kinematic tree: " + "; ".join(problems))
    T = np.eye(4) if T_asset_root is None else T_asset_root
    return ArticulatedAsset(name, tuple(order), tuple(links[o] for o in order), tuple(made), T)
