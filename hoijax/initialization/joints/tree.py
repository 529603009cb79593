"""A tree of links as it hangs on one of them: where the others are, and how they move with the unknowns.

The unknowns are the pose of that link, the anchor, and the joint values; the anchor may be any link, also
one at the end of a chain.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.programs import program
from hoijax.scene.joints import ObjectJoints, joint_transforms


@dataclass(frozen=True)
class Tree:
    """A tree as it hangs on one of its links, the anchor: structure, known when traced."""

    anchor: int
    hops: tuple[tuple[int, int, int, bool], ...]
    """(joint, known link, other link, whether the known one is the parent), from the anchor outwards."""

    @property
    def links(self) -> tuple[int, ...]:
        """The anchor and what follows from it, in that order."""
        return (self.anchor, *(hop[2] for hop in self.hops))


def tree_from(joints: ObjectJoints, anchor: int) -> Tree:
    """The links that hang together with `anchor`, in the order in which they follow from it."""
    known, hops = {anchor}, []
    pairs = list(enumerate(zip(joints.parents, joints.children, strict=True)))
    while ready := [(d, pair) for d, pair in pairs if len(known & set(pair)) == 1]:
        d, (parent, child) = ready[0]
        forward = parent in known
        hops.append((d, parent, child, True) if forward else (d, child, parent, False))
        known |= {parent, child}
    return Tree(anchor, tuple(hops))


def moved(
    T: Float[Array, "4 4"], move: Float[Array, " n"], center: Float[Array, " 3"]
) -> Float[Array, "4 4"]:
    """Turned about the anchor's center, and shifted."""
    rotation = axis_angle_to_matrix(move[:3]) @ T[:3, :3]
    shift = T[:3, 3] + (T[:3, :3] - rotation) @ center + move[3:6]
    return T.at[:3, :3].set(rotation).at[:3, 3].set(shift)


def place(
    joints: ObjectJoints,
    tree: Tree,
    T_world_anchor: Float[Array, "4 4"],
    values: Float[Array, " D"],
) -> list[Float[Array, "4 4"]]:
    """T_world_link of the anchor and of every other link, in the tree's order."""
    posed = {tree.anchor: T_world_anchor}
    for d, known, other, forward in tree.hops:
        T = joint_transforms(joints, d, values[d][None])[0]
        posed[other] = posed[known] @ (T if forward else _inverse(T))
    return list(posed.values())


def _inverse(T: Array) -> Float[Array, "4 4"]:
    rotation = T[:3, :3].T
    return T.at[:3, :3].set(rotation).at[:3, 3].set(-rotation @ T[:3, 3])


def ways_of(
    joints: ObjectJoints,
    tree: Tree,
    posed: list[Float[Array, "4 4"]],
    centers: list[Float[Array, " 3"]],
) -> list[Float[Array, "6 n"]]:
    """(6, 6 + D) of every link: how the unknowns turn it about its own center, and shift it."""
    size = 6 + len(joints.parents)
    order = {link: i for i, link in enumerate(tree.links)}
    middles = [P[:3, :3] @ c + P[:3, 3] for P, c in zip(posed, centers, strict=True)]
    ways = [jnp.eye(6, size)]
    for i, (d, known, _, forward) in enumerate(tree.hops):
        before = ways[order[known]]
        arm = middles[i + 1] - middles[order[known]]
        shift = before[3:] + jnp.cross(before[:3].T, arm).T
        parent = posed[order[joints.parents[d]]]
        frame = parent @ joints.Ts_parent_joint[d]
        axis = frame[:3, :3] @ joints.axes[d] * (1.0 if forward else -1.0)
        turn = before[:3]
        if joints.slides[d]:
            shift = shift.at[:, 6 + d].add(axis)
        else:
            turn = turn.at[:, 6 + d].add(axis)
            shift = shift.at[:, 6 + d].add(jnp.cross(axis, middles[i + 1] - frame[:3, 3]))
        ways.append(jnp.concatenate([turn, shift]))
    return ways


@program(static=("tree",))
def placed_links(
    joints: ObjectJoints,
    tree: Tree,
    Ts_world_anchor: Float[Array, "K T 4 4"],
    values: Float[Array, "K T D"],
) -> dict[int, Float[Array, "K T 4 4"]]:
    """T_world_link of all links of a tree, by link."""
    placed = jax.vmap(jax.vmap(partial(place, joints, tree)))(Ts_world_anchor, values)
    return dict(zip(tree.links, placed, strict=True))
