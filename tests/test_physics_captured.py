"""The verdict on captured truth and its controls, where the recordings are beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from hoijax.importers.mesh_motions import read_mesh_motions
from hoijax.physics.verdict import Weight, judge
from scripts.benchmarks.physics import adds_cm, captured, controls, disturbed

DATA = Path(__file__).parents[2] / "shared" / "data" / "omomo"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the recordings in {DATA}")


@pytest.fixture(scope="module")
def box():
    return captured(DATA / "sub3_largebox_003.npz", 13)


def test_the_truth_is_held_and_controls_are_not(box):
    held = {
        name: judge(motion, Weight(mass=2.0 * times)).values["explained_share@1cm"]
        for name, motion, times in controls(box)
        if name in ("truth", "5 cm +x", "5 cm -x", "hovers")
    }
    assert held["truth"] >= 0.9
    assert held["5 cm +x"] <= 0.5  # into one hand, out of the other
    assert held["5 cm -x"] <= 0.5
    assert held["hovers"] == 0


@pytest.mark.slow
def test_what_is_further_off_scores_worse(box):
    rows = [disturbed(box, "jitter", size, seed=0) for size in (0.01, 0.04, 0.16)]
    scores = [judge(motion, Weight(mass=2.0)).values["score"] for motion in (box, *rows)]
    assert np.all(np.diff(scores) < 0)
    assert adds_cm(rows[0], box) < adds_cm(rows[2], box)


@pytest.mark.slow
def test_a_recording_is_read_as_it_is_and_judged():
    path = DATA / "sub8_plasticbox_000.npz"
    (motion,) = read_mesh_motions(path, [DATA / "objects" / "plasticbox.obj"])
    recorded = np.load(path)
    joints = motion.joints
    body = [*range(22), *range(25, 55)]
    np.testing.assert_allclose(joints[:, body], recorded["joint_positions"], atol=2e-3)
    verdict = judge(motion, Weight(mass=2.0))
    assert verdict.values["explained_share@1cm"] >= 0.9
