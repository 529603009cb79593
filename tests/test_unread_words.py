"""Words that no rule reads and that change what is said stop a motion from being made, with the reason."""

import numpy as np
import pytest

from hoijax.errors import UserError
from hoijax.objects.asset import load_asset
from priors.choreography.choreographer import FPS
from priors.choreography.dispatch import perform
from priors.choreography.person import make_person
from priors.choreography.plan import Performance
from priors.synthetic.from_text import make_script


def understood(text: str, names: str) -> str:
    script = make_script(text, [load_asset(name) for name in names.split()])
    return script.summary().removeprefix("understood: ")


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        ("a person stops carrying the box", "box", "'stops': say what happens"),
        ("a person holds the ball between the knees", "ball", "'between knees'"),
        ("a person does a handstand on the skateboard", "skateboard", "'does handstand'"),
        ("a person pushes the box with the hips", "box", "'hips': people push with"),
        ("a person holds the broom horizontally", "broom", "'horizontally': this motion"),
        ("a nurse pushes a patient in a chair", "chair", "'patient': nobody"),
        ("a person pretends to lift the box", "box", "what may happen"),
        ("a person tries to lift the box", "box", "'tries': this action"),
        ("a person wants to lift the box", "box", "'wants': this action"),
        ("a person is about to lift the box", "box", "what may happen"),
        ("a person could lift the box", "box", "what may happen"),
        ("a person rarely lifts the box", "box", "what does not happen"),
        ("a person lifts everything but the box", "box", "what does not happen"),
        ("a person carries the box in reverse", "box", "'reverse': this motion"),
        ("a person carries the box upside down", "box", "'upside': this motion"),
        ("a person carries the box up the stairs", "box", "'stairs': this motion"),
        ("a person kicks the ball into the air", "ball", "'air': this motion"),
        ("a person pushes the box around the table", "box table", "'around the table'"),
        ("a person puts the box on her back", "box", "'on back'"),
        ("a person hits the ball", "ball", "'hit ball': things are swung"),
        ("a person swings the ball with the bat", "ball", "'with bat': no object here"),
        ("a person throws the ball against the wall", "ball", "'against wall'"),
        ("a person lifts the box from the shelf", "box", "'from shelf'"),
        ("a person swings the broom like a bat", "broom", "'like bat'"),
        ("a person presses the button", "box", "'button': no object here"),
        ("a person swings the broom at a fly", "broom", "'at fly'"),
        ("a person lifts the boxx", "box", "Did you mean 'box'"),
        ("a person lifts half of the box", "box", "'half': the box has parts bottom"),
        ("a person lifts one end of the table", "table", "'end': the table has parts"),
        ("a person lifts the box by its corner", "box", "'corner': the box has parts"),
        ("a person drags the suitcase by the leg", "suitcase", "'leg': the suitcase has parts"),
        ("a person sits on the back of the chair", "chair", "'on back'"),
        ("a person stands on one leg on the chair", "chair", "'on one leg'"),
        ("a person pulls the suitcase open", "suitcase", "'open': objects stay"),
        ("a person pushes the chair over", "chair", "'over': things are not toppled"),
        ("a person puts the box on", "box", "'put on': clothes"),
        ("a person takes off the box", "box", "'take off': clothes"),
        ("a person opens the box and lifts it", "box", "'opens': this action"),
        ("a person shakes hands with a friend", "box", "'shake hands': limbs"),
        ("a person brushes the teeth with a broom", "broom", "'brush teeth': limbs"),
        ("a person pushes another person on the skateboard", "skateboard", "'person': nobody"),
        ("a person takes the box from another person", "box", "'person': nobody"),
        ("two people throw the ball to each other", "ball", "'each other'"),
        ("a person sits on the table with feet on the chair", "table chair", "'chair': limbs"),
        ("two people sit on the chair", "chair", "'sit': one person at a time"),
        ("a person kicks the ball, then he sits on the chair", "ball chair", "nobody does both"),
        ("a person carries the box and sits on the chair", "box chair", "nobody does both"),
        ("a boy throws the ball and a girl kicks it", "ball", "each in a way of their own"),
        ("a person throws the ball up and a woman catches it", "ball", "'woman catches': say that"),
        ("a person reads the box on the chair", "box chair", "'on the chair': what is held"),
        ("a child is pushed by a man", "box", "'child': nobody is moved"),
        ("a man catches the ball and throws it", "ball", "'catches': one person throws"),
        ("a woman throws the ball and it is thrown back", "ball", "'throw back'"),
        ("two children toss a ball back and forth", "ball", "'back and forth'"),
        (
            "the box on the table is pushed by a man",
            "box table",
            "'on the table': things are pushed",
        ),
        ("a person hits a nail with the broom", "broom", "'hit nail': things are swung"),
        ("a man bench presses a barbell", "barbell", "'bench presses': this action"),
        ("one man lifts the box, another helps him", "box", "'helps': say who"),
        ("a person throws the box out of the window", "box", "'out of window': no object"),
        ("a person puts the box on top of the wardrobe", "box", "'top of wardrobe': no object"),
        ("a man leaves with a woman", "box", "'leave with woman': say what"),
    ],
)
def test_what_changes_the_meaning_is_not_passed_over(text, names, says):
    with pytest.raises(UserError, match=says):
        understood(text, names)


@pytest.mark.parametrize(
    ("text", "names", "summary"),
    [
        ("a person lifts the heavy red box with great care", "box",
         "person 1: lift box. Ignored: heavy, red, great, care"),
        ("a person carries the box across the kitchen", "box", "person 1: carry box. Ignored: kitchen"),
        ("a person wearing a coat lifts the box", "box", "person 1: lift box. Ignored: wearing, coat"),
        ("a man in a blue shirt lifts the box", "box", "man 1: lift box. Ignored: blue, shirt"),
        ("a man sits on the chair and rests", "chair", "man 1: sit chair. Ignored: rests"),
        ("a person does a deadlift", "barbell", "person 1: lift barbell"),
        ("a person lifts the table by the edge", "table", "person 1: lift table. Ignored: edge"),
        ("a person lifts the box for ten seconds", "box", "person 1: lift box. Ignored: seconds"),
        ("a man lifts the box while another sits on the chair", "box chair",
         "man 1: lift box; man 2: sit chair"),
        ("one man lifts the box, the other man sits on the chair", "box chair",
         "man 1: lift box; man 2: sit chair"),
        ("two women: one lifts the box, the other lifts the chair", "box chair",
         "women 1: lift box; women 2: lift chair. Ignored: women"),
        ("a man throws the ball to another man and the other man catches it", "ball",
         "man 1: throw ball; man 2: catch ball"),
        ("a person sits on the chair and puts the box on the table", "chair box table",
         "person 1: sit chair; person 1: carry box; box on table at the end"),
        ("a person throws the ball up and catches it", "ball", "person 1: play ball"),
        ("a person throws the ball into the air and catches it", "ball", "person 1: play ball"),
        ("a person tosses a round red ball high in the air", "ball",
         "person 1: play ball. Ignored: round, red"),
        ("a ball is thrown up into the air by a man and caught", "ball", "man 1: play ball"),
        ("a person lifts the box into the air", "box", "person 1: lift box"),
        ("a person walks away carrying the box", "box", "person 1: carry box"),
        ("a woman walks off with the box", "box", "woman 1: carry box"),
        ("a person puts the box away", "box", "person 1: carry box, from ground"),
        ("a man lowers the box and leaves", "box", "man 1: carry box, then walks away"),
        ("they carry it together", "box", "people 1 and people 2: carry box"),
        ("the box on the table gets picked up by a man", "box table",
         "man 1: lift box; box on table at the start"),
        ("a man takes the box on the table", "box table",
         "man 1: carry box; box on table at the start"),
        ("a woman catches the ball thrown by a man", "ball", "man 2: throw ball; woman 1: catch ball"),
        ("a person swings the broom back and forth", "broom",
         "person 1: swing broom. Ignored: back, forth"),
        ("a man is seated on the chair", "chair", "man 1: sit chair"),
    ],
)  # fmt: skip
def test_what_leaves_the_motion_as_it_is_is_told(text, names, summary):
    assert understood(text, names) == summary


def test_who_sits_on_what_is_pushed_goes_with_it():
    chair = load_asset("chair")
    script = make_script("a man pushes a woman sitting on a chair", [chair])
    people = [make_person(np.zeros(10, np.float32)) for _ in script.graph.people]
    plan = Performance(script, (chair,), people, 36, FPS, np.random.default_rng(0))
    perform(plan)
    seat = plan.objects[0].center[:, [0, 2]]
    assert np.linalg.norm(seat[-1] - seat[0]) > 0.5
    away = np.linalg.norm(plan.tracks[1].root - seat, axis=1)
    assert away.max() < 0.2
    assert np.ptp(away) < 0.01
    behind = np.linalg.norm(plan.tracks[0].root - plan.tracks[1].root, axis=1)
    assert behind.min() > 0.4
