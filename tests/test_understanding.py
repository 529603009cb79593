"""Sentences do what they say: what is not understood is told, what would turn the meaning is refused."""

import dataclasses

import numpy as np
import pytest

from hoijax.errors import UserError
from hoijax.geometry.transforms import GRAVITY
from hoijax.objects.asset import load_asset
from priors.choreography.choreographer import FPS
from priors.choreography.dispatch import perform
from priors.choreography.keyframes import forward_of
from priors.choreography.person import make_person
from priors.choreography.plan import Performance
from priors.language.script import script_from_text
from priors.synthetic.from_text import make_script

FRAMES = 36


def script(text, *names, **options):
    return script_from_text(text, [load_asset(name) for name in names], **options)


def performance(text, names, seed=0) -> Performance:
    """Planned paths, without inverse kinematics."""
    assets = tuple(load_asset(name) for name in names.split())
    made = script_from_text(text, assets)
    people = [make_person(np.zeros(10, np.float32)) for _ in made.graph.people]
    plan = Performance(made, assets, people, FRAMES, FPS, np.random.default_rng(seed))
    perform(plan)
    return plan


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("a person does not lift the box", "box", "'not'"),
        ("a person doesn't lift the box", "box", "doesn't"),
        ("a person lifts the box without hands", "box", "'without'"),
        ("a dog kicks the ball", "ball", "a dog: only people"),
        ("a person sits on a chair", "barbell", "--objects chair=FILE"),
        ("a person holds an umbrella", "broom", "but the object is 'broom'"),
        ("a person pulls the drawer of the box", "box", "no object here has a drawer"),
        ("a person lfits the box", "box", "Did you mean 'lifts'"),
    ],
)
def test_what_would_be_something_else_is_refused(text, name, says):
    with pytest.raises(UserError, match=says):
        script(text, name)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("a person pushes the box backwards", "box", "'backwards'"),
        ("a person carries the box sideways", "box", "'sideways'"),
        ("a person carries a box on the head", "box", "'head'"),
        ("a person kicks the ball to the left", "ball", "'left'"),
        ("a person throws the ball and kicks it", "ball", "'throw'"),
        ("after a while a person lifts the box", "box", "'after'"),
        ("a person sits under the table", "table", "'under the table'"),
        ("a person sits on the floor next to the box", "box", "'next to the box'"),
        ("a person puts the ball into the box", "ball box", "'into the box'"),
        ("a person takes the ball out of the box", "ball box", "'out of the box'"),
        ("a person puts the ball next to the box", "ball box", "'next to the box'"),
        ("a person pulls the chair away from the table", "chair table", "'table': nothing"),
        ("a person carries a box and a suitcase", "box suitcase", "'suitcase': nothing"),
        ("a person swings the broom at the ball", "broom ball", "'ball': nothing"),
        ("a person raises both arms", "box", "'raise arms': limbs"),
        ("a person carries the chair to the table", "chair table", "'table': nothing"),
        ("a person carries two boxes", "box", "'2 boxes': 1 mesh"),
        ("a person lifts the box three times", "box", "'times'"),
        ("a person kicks the ball to another person", "ball", "'to person'"),
        ("a person sits on the chair, then stands up", "chair", "'stands'"),
        ("a person lifts the box and dances", "box", "'dances'"),
        ("a person lifts the box with both feet", "box", "'left foot': people lift with"),
        ("a person kicks the ball with the left hand", "ball", "'left hand': people kick with"),
        ("a person carries a chair over her head", "chair", "'overhead'"),
    ],
)
def test_what_no_motion_shows_is_not_animated(text, name, says):
    with pytest.raises(UserError, match=says) as refusal:
        make_script(text, [load_asset(word) for word in name.split()])
    assert "--prior diffusion" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "names", "summary"),
    [
        ("a person sits on a chair, reading a box", "chair box", "sit chair; person 1: hold box"),
        ("a person lifts the box and walks", "box", "person 1: lift box. Ignored: walks"),
        ("a person lifts a box above the head", "box", "person 1: lift box, overhead"),
        ("a person throws the ball up and catches it", "ball", "person 1: play ball"),
        (
            "a person carries the box to the table",
            "box table",
            "carry box; box on table at the end",
        ),
        ("a person kicks the ball near the chair", "ball chair", "person 1: kick ball"),
        ("a person takes the ball from the table and throws it", "ball table", "at the start"),
        ("a person moves the box closer to the table", "box table", "carry box. Ignored: closer"),
        ("two people carry the table", "table", "people 1 and people 2: carry table"),
        ("a person lifts the box, carries it and puts it down", "box", "carry box, from ground"),
        ("a person lifts the box and walks away", "box", "carry box, from ground"),
        (
            "a person lifts the box that stands on the table",
            "box table",
            "box on table at the start. Ignored: stands",
        ),
        ("a person puts the box down and leaves", "box", "carry box, then walks away"),
        (
            "a person carries the box to the table and walks away",
            "box table",
            "carry box, then walks away; box on table at the end",
        ),
        ("a person sits on a chair and holds a box", "chair box", "person 1: hold box"),
    ],
)
def test_what_is_animated_is_not_refused(text, names, summary):
    assert (
        make_script(text, [load_asset(name) for name in names.split()]).summary().endswith(summary)
    )


def test_words_that_are_no_verbs_are_not_taken_for_misspelt_ones():
    for text, hint in (("a person sist on the chair", "'sits'"), ("a person trows it", "'throws'")):
        with pytest.raises(UserError, match=hint):
            script(text, "chair")
    for text in ("a person walks around", "a person leans on it", "a person lies on the bed"):
        with pytest.raises(UserError, match="no known verb") as refusal:
            script(text, "chair")
        assert "Did you mean" not in str(refusal.value)


def test_what_is_lifted_over_the_head_ends_there():
    plan = performance("a person lifts the box over the head", "box")
    assert plan.objects[0].lowest()[-1] > plan.tracks[0].person.shoulder_height


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        ("a person lifts the chair and sits down on it", "chair", "'lift': of several actions"),
        (
            "a person puts the box on the table and sits on the chair",
            "box table chair",
            "'put' and",
        ),
        ("a person kicks the ball and walks away", "ball", "'walks away': one person"),
        ("two people put the table down and walk away", "table", "'walk away': one person"),
    ],
)
def test_motions_one_after_the_other_that_are_not_joined_are_refused(text, names, says):
    with pytest.raises(UserError, match=says):
        make_script(text, [load_asset(name) for name in names.split()])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a person lifts the box, puts it down and walks away", "box"),
        ("a person puts the suitcase down and leaves", "suitcase"),
        ("a person carries the box to the table and walks away", "box table"),
    ],
)
def test_who_walks_away_leaves_behind_what_was_put_down(text, names):
    plan = performance(text, names)
    moved, track = plan.objects[0], plan.tracks[0]
    ends = {hold.end for hold in track.holds}
    assert max(ends) < 0.7 * plan.frames
    after = slice(max(ends), None)
    assert np.ptp(moved.center[after], axis=0).max() == 0.0
    assert np.ptp(moved.rotation[after], axis=0).max() == 0.0
    floor = plan.objects[1].center[0, 1] if "table" in names else -0.01
    assert floor < moved.lowest()[-1] < floor + 0.6
    gone = np.linalg.norm(track.root - track.root[max(ends)], axis=1)
    assert gone[-1] > 0.5
    assert not any(edge.is_continuous for edge in plan.script.graph.edges[:2])


def test_graphs_for_videos_may_say_more_than_is_animated():
    made = script("a person carries a box on the head", "box")
    assert {edge.first.part for edge in made.graph.edges} == {"left_hand", "right_hand", "head"}


def test_the_noun_of_a_file_that_has_another_name_is_read():
    thing = dataclasses.replace(load_asset("box"), name="model")
    assert script_from_text("a person lifts the heavy box", [thing]).ignored == ("heavy",)
    said = script_from_text("a person lifts the mug from the table", [thing]).ignored
    assert said == ("mug", "table")  # two nouns: which is meant is not sure


def test_what_is_understood_is_told_with_the_words_passed_over():
    said = []
    make_script(
        "a person carefully lifts the heavy box with the left hand",
        [load_asset("box")],
        log=said.append,
    )
    assert said == ["understood: person 1: lift box. Ignored: carefully, heavy"]
    plain = script("a man picks up the box and puts it down on the table", "box", "table")
    assert plain.ignored == ()
    assert plain.summary() == "understood: man 1: carry box, from ground; box on table at the end"


@pytest.mark.parametrize(
    "text",
    [
        "a man throws the ball to another person",
        pytest.param("a man throws the ball and a woman catches it", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_what_is_thrown_to_somebody_is_caught(text):
    plan = performance(text, "ball")
    thrown, catcher = plan.objects[0], plan.tracks[1]
    (first, last), (_, end) = [
        (hold.start, hold.end) for hold in (plan.tracks[0].holds[0], catcher.holds[0])
    ]
    catch = catcher.holds[0].start
    assert first == 0
    assert last < catch < end
    flight = np.diff(thrown.center[last : catch + 1], n=2, axis=0) * FPS**2
    np.testing.assert_allclose(flight, np.tile(GRAVITY, (len(flight), 1)), atol=1e-6)
    steps = np.linalg.norm(np.diff(thrown.center, axis=0), axis=1)
    assert steps[catch:].max() < 0.12
    ahead = (thrown.center[-1] - [catcher.root[-1, 0], 0.0, catcher.root[-1, 1]]) @ forward_of(
        catcher.heading[-1]
    )
    assert 0.1 < ahead < 0.7
    touching = [plan.contact[t.edge] for t in plan.touches if t.person == 1]
    assert all(not row[:catch].any() and row[catch:].all() for row in touching)
    assert len(touching) == 2


def test_what_is_lifted_and_put_down_starts_and_ends_on_the_ground():
    plan = performance("a person lifts a box and puts it down", "box")
    moved = plan.objects[0]
    low = [((moved.asset.vertices - moved.asset.center) @ R.T + c)[:, 1].min()
           for R, c in zip(moved.rotation, moved.center, strict=True)]  # fmt: skip
    assert low[0] == pytest.approx(0.0, abs=0.01)
    assert low[-1] == pytest.approx(0.0, abs=0.01)
    assert low[FRAMES // 2] > 0.5


@pytest.mark.parametrize(("word", "sign"), [("backwards", -1.0), ("slowly", 1.0)])
def test_backwards_is_against_the_heading(word, sign):
    track = performance(f"a person carries a box {word}", "box").tracks[0]
    along = np.diff(track.root, axis=0)
    heading = np.stack([forward_of(h)[[0, 2]] for h in track.heading[:-1]])
    assert sign * (along * heading).sum() > 0.4


def test_hands_move_no_joints_and_that_is_said():
    from hoijax.objects.articulated.loading import load_articulated
    from priors.synthetic.articulated_scenes import observe_articulated

    laptop = load_articulated("laptop", samples=64)
    with pytest.raises(UserError, match=r"the lid of 'laptop'\. Hands are put on the body"):
        observe_articulated("a person carries the lid of the laptop", laptop)
