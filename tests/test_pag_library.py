"""Sentences to graphs: what people type, over the shipped objects and over meshes without parts."""

import dataclasses

import numpy as np
import pytest

from hoijax.affordance.contact_table import compile_contacts
from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.objects.procedural import PROCEDURAL_OBJECTS
from priors.language.contact_rules import choose_part
from priors.language.script import (
    KNOWN_VERBS,
    Relation,
    affordance_from_text,
    script_from_graph,
    script_from_text,
)
from priors.language.sentence import find_verbs, inflections, library, tokenize


@dataclasses.dataclass(frozen=True)
class Thing:
    """The part of an Asset that the library looks at."""

    name: str
    part_names: tuple[str, ...]
    sample_parts: np.ndarray


PARTS = {
    "barbell": ("bar", "weights"),
    "box": ("bottom", "sides", "top"),
    "chair": ("seat", "legs", "backrest"),
    "broom": ("handle", "head"),
    "suitcase": ("body", "handle", "wheels"),
    "skateboard": ("deck", "trucks", "wheels"),
    "table": ("top", "legs"),
    "ball": ("surface",),
    "guitar": ("neck", "body", "strings"),
    "bike": ("frame", "seat", "handlebar", "pedals", "wheels"),
    "mug": ("body", "handle", "rim"),
    "largebox": (),
    "woodchair": (),
}


def thing(name: str) -> Thing:
    parts = PARTS[name.rstrip(" 0123456789")]
    labels = np.repeat(np.arange(len(parts)), range(2, 2 + len(parts))).astype(np.int32)
    return Thing(name, parts, labels if parts else np.full(4, -1, np.int32))


def read(text: str, *names: str):
    return script_from_text(text, [thing(name) for name in names])


def contacts(script) -> set[str]:
    """'1 left_hand bar' for person 1; '~' marks an intermittent contact."""
    return {
        f"{e.first.entity.removeprefix('person ')} {e.first.part} {e.second.part}"
        + ("" if e.is_continuous else "~")
        for e in script.graph.edges
        if e.first.entity.startswith("person ")
    }


def test_parts_of_the_shipped_objects_are_those_tested_here():
    from hoijax.objects.asset import load_asset

    for name in PROCEDURAL_OBJECTS:
        assert load_asset(name, samples=64).part_names == PARTS[name]


SENTENCES = [
    (
        "a person lifts a barbell from the ground with both hands",
        "barbell",
        "lift",
        "1 left_hand bar, 1 right_hand bar",
    ),
    (
        "A man raises the barbell over his head.",
        "barbell",
        "lift",
        "1 left_hand bar, 1 right_hand bar",
    ),
    ("a woman deadlifting a barbell", "barbell", "lift", "1 left_hand bar, 1 right_hand bar"),
    ("someone picks the heavy box up", "box", "lift", "1 left_hand sides, 1 right_hand sides"),
    ("a man hoisted a crate", "box", "lift", "1 left_hand sides, 1 right_hand sides"),
    ("a person carries a box", "box", "carry", "1 left_hand sides, 1 right_hand sides"),
    (
        "a person carries a box on her head",
        "box",
        "carry",
        "1 left_hand sides, 1 right_hand sides, 1 head sides",
    ),
    (
        "carry the box on your left shoulder with one hand",
        "box",
        "carry",
        "1 right_hand sides, 1 left_shoulder sides",
    ),
    ("a person carries a suitcase", "suitcase", "carry", "1 right_hand handle"),
    (
        "she carries the suitcase with both hands",
        "suitcase",
        "carry",
        "1 left_hand handle, 1 right_hand handle",
    ),
    ("he carries the suitcase in his left hand", "suitcase", "carry", "1 left_hand handle"),
    ("a person pulls a suitcase by the handle", "suitcase", "pull", "1 right_hand handle"),
    (
        "a kid drags the suitcase by its wheels",
        "suitcase",
        "drag",
        "1 right_hand wheels, 1 left_hand wheels",
    ),
    ("a woman drags a chair", "chair", "drag", "1 left_hand backrest, 1 right_hand backrest"),
    ("a man pushes a chair", "chair", "push", "1 left_hand backrest, 1 right_hand backrest"),
    ("a man pushes the chair with his foot", "chair", "push", "1 right_foot legs"),
    ("a man is shoving a table", "table", "push", "1 left_hand top, 1 right_hand top"),
    ("a woman sits down on a chair", "chair", "sit", "1 hips seat~"),
    ("a woman sits on a chair", "chair", "sit", "1 hips seat"),
    ("a girl sat on the box", "box", "sit", "1 hips top"),
    ("a woman is sitting on a skateboard", "skateboard", "sit", "1 hips deck"),
    ("a woman takes a seat", "chair", "sit", "1 hips seat~"),
    ("a boy rides a skateboard", "skateboard", "ride", "1 left_foot deck, 1 right_foot deck"),
    ("a boy is skateboarding", "skateboard", "ride", "1 left_foot deck, 1 right_foot deck"),
    (
        "a woman rides a bicycle",
        "bike",
        "ride",
        "1 hips seat, 1 left_hand handlebar, 1 right_hand handlebar, 1 left_foot pedals, 1 right_foot pedals",
    ),
    ("a kid rides on a suitcase", "suitcase", "ride", "1 hips body"),
    (
        "a man sweeping the floor with a broom",
        "broom",
        "sweep",
        "1 left_hand handle, 1 right_hand handle",
    ),
    ("a woman mopping", "broom", "sweep", "1 left_hand handle, 1 right_hand handle"),
    ("the floor is swept by a man", "broom", "sweep", "1 left_hand handle, 1 right_hand handle"),
    ("a child swings a broom", "broom", "swing", "1 left_hand handle, 1 right_hand handle"),
    ("someone kicks a ball", "ball", "kick", "1 right_foot surface~"),
    ("a player kicked the football with his left foot", "ball", "kick", "1 left_foot surface~"),
    ("a person holds a broom with the left hand", "broom", "hold", "1 left_hand handle"),
    ("his right hand grips the handle", "broom", "hold", "1 right_hand handle"),
    ("a person steps on a box", "box", "step on", "1 left_foot top~, 1 right_foot top~"),
    ("a person stands on the box with the right foot", "box", "step on", "1 right_foot top~"),
    ("a person throws a ball", "ball", "throw", "1 left_hand surface~, 1 right_hand surface~"),
    (
        "a person picks up a ball and throws it",
        "ball",
        "throw",
        "1 left_hand surface~, 1 right_hand surface~",
    ),
    ("a man drinks from a mug", "mug", "drink", "1 right_hand handle, 1 head rim~"),
    ("a man has a sip and drinks from the cup", "mug", "drink", "1 right_hand handle, 1 head rim~"),
    ("a woman plays the guitar", "guitar", "play", "1 left_hand neck, 1 right_hand strings"),
    ("a kid playing with a ball", "ball", "play", "1 left_hand surface~, 1 right_hand surface~"),
    (
        "two people carry a table",
        "table",
        "carry",
        "1 left_hand top, 1 right_hand top, 2 left_hand top, 2 right_hand top",
    ),
    (
        "a man lifts the table by its legs with another person",
        "table",
        "lift",
        "1 left_hand legs, 1 right_hand legs, 2 left_hand legs, 2 right_hand legs",
    ),
    (
        "the table is lifted by a man and a woman",
        "table",
        "lift",
        "1 left_hand top, 1 right_hand top, 2 left_hand top, 2 right_hand top",
    ),
    (
        "a man throws the ball to another person",
        "ball",
        "throw",
        "1 left_hand surface~, 1 right_hand surface~, 2 left_hand surface~, 2 right_hand surface~",
    ),
    (
        "a man pushes a woman sitting on a chair",
        "chair",
        "push",
        "1 left_hand backrest, 1 right_hand backrest, 2 hips seat",
    ),
    ("a person lifts a box", "largebox", "lift", "1 left_hand surface, 1 right_hand surface"),
    ("a person sits on a wooden chair", "woodchair", "sit", "1 hips surface"),
]


@pytest.mark.parametrize(("text", "name", "verb", "expected"), SENTENCES)
def test_sentence(text, name, verb, expected):
    script = read(text, name)
    assert script.verb == verb
    assert contacts(script) == set(expected.split(", "))
    assert script.text == text


@pytest.mark.parametrize("verb", KNOWN_VERBS)
@pytest.mark.parametrize("name", PROCEDURAL_OBJECTS)
def test_every_verb_with_every_shipped_object(verb, name):
    """Odd pairs too ('drink a table'): the graph is valid, fits the asset, and names the object."""
    parts = {name: PARTS[name]}
    script = read(f"the man will {verb} the {name}", name)
    assert script.verb == verb
    assert script.actions[0].people == (0,)
    table = compile_contacts(script.graph, parts)
    assert table.edge_count >= 1
    assert PartAffordanceGraph.from_json(script.graph.to_json()) == script.graph
    assert script.graph == affordance_from_text(script.text, [thing(name)])
    moves = library()["verbs"][verb]["moves"]
    assert table.object_is_translational.tolist() == [moves]
    assert script_from_graph(script.graph, script.text, [thing(name)]) == script


@pytest.mark.parametrize("order", [("box", "table"), ("table", "box")])
@pytest.mark.parametrize(
    ("text", "verb", "phase"),
    [
        ("a person puts a box on a table", "carry", "end"),
        ("a woman placed the box on top of the wooden table", "carry", "end"),
        ("a man lifts the box onto the table", "lift", "end"),
        ("a man throws a box onto a table", "throw", "end"),
        ("a person picks up a box from the table", "lift", "start"),
        ("a person takes the box off the table", "carry", "start"),
        ("a man lifts a box off of a desk", "lift", "start"),
        ("a man slides a box on the table", "push", "throughout"),
    ],
)
def test_object_on_object(order, text, verb, phase):
    script = read(text, *order)
    box, table = order.index("box"), order.index("table")
    assert (script.verb, script.object) == (verb, box)
    assert script.relations == (Relation(box, table, phase),)
    edge = script.graph.edges[-1]
    assert (edge.first.entity, edge.first.part) == ("box", "bottom")
    assert (edge.second.entity, edge.second.part) == ("table", "top")
    assert edge.is_continuous == (phase == "throughout")
    moving = {node.name: node.is_translational for node in script.graph.objects}
    assert moving == {"box": True, "table": False}
    assert [node.name for node in script.graph.objects] == list(order)


def test_what_stands_on_a_moving_thing_moves():
    script = read("a person pushes a skateboard with a box on it", "box", "skateboard")
    assert (script.verb, script.object) == ("push", 1)
    assert script.relations == (Relation(0, 1, "throughout"),)
    assert all(node.is_translational for node in script.graph.objects)


def test_near_is_not_on():
    script = read("a person lifts a box next to a table", "box", "table")
    assert script.relations == ()
    assert read("a person lifts a box in front of the table", "box", "table").relations == ()


def test_one_thing_in_each_hand_and_each_on_his_own():
    script = read("a person carries two suitcases", "suitcase 1", "suitcase 2")
    ends = {(e.first.part, e.second.entity) for e in script.graph.edges}
    assert ends == {("right_hand", "suitcase 1"), ("left_hand", "suitcase 2")}
    script = read("two people sit on two chairs", "chair 1", "chair 2")
    assert {a.object: a.people for a in script.actions} == {0: (0,), 1: (1,)}


def test_two_things_at_once():
    script = read("a man sitting on a chair lifts a box with his left hand", "chair", "box")
    assert (script.verb, script.object) == ("lift", 1)
    assert [a.verb for a in script.actions] == ["lift", "sit"]
    assert contacts(script) == {"1 left_hand sides", "1 hips seat"}
    script = read("a man pulls a suitcase while a woman sits on a chair", "suitcase", "chair")
    assert [(a.verb, a.people) for a in script.actions] == [("pull", (0,)), ("sit", (1,))]
    assert script.person_count == 2
    assert [person.description for person in script.graph.people] == ["a man", "a woman"]


@pytest.mark.parametrize("order", [("broom", "table"), ("table", "broom")])
@pytest.mark.parametrize(
    "text", ["a man sweeps the table with a broom", "a man with a broom sweeps the table"]
)
def test_tools_are_what_is_held(text, order):
    script = read(text, *order)
    assert script.graph.objects[script.object].name == "broom"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("lift the table", 1),
        ("three workers lift a table", 3),
        ("a couple of friends lift the table", 2),
        ("a man, a woman and a child lift the table", 3),
        ("a man lifts a table together with his friend", 2),
        ("a man lifts a table and the man carries it", 1),
        ("2 people lift the table", 2),
        ("people lift the table", 2),
        ("a person lifts the table and the other person watches", 2),
    ],
)
def test_how_many_people(text, count):
    assert read(text, "table").person_count == count


def test_unknown_verb_lists_what_is_known():
    with pytest.raises(UserError) as caught:
        read("a person contemplates the box", "box")
    for word in (*KNOWN_VERBS, "--pag file.json"):
        assert word in str(caught.value)
    with pytest.raises(UserError, match="no known verb in ''"):
        read("", "box")


def test_objects_left_out_twice_or_missing():
    with pytest.raises(UserError, match=r"does not say what happens with 'table'\. .*--pag"):
        read("a person carries a box", "box", "table")
    with pytest.raises(UserError, match="several objects are called 'box'"):
        read("a person carries two boxes", "box", "box")
    with pytest.raises(UserError, match="there is no object"):
        read("a person carries a box")
    assert read("a person lifts the thing", "box").verb == "lift"


def test_more_hands_than_there_are():
    with pytest.raises(UserError, match=r"carry 'box 3': person 1 has no hand or foot left"):
        read("a person carries three boxes", "box 1", "box 2", "box 3")


def test_nouns_are_not_verbs():
    verbs = find_verbs(tokenize("a man has a drink, then he takes the lift and carries the mop"))
    assert [v.word for v in verbs] == ["take", "carry"]
    assert find_verbs(tokenize("the barbell lift"))[0].verb == "lift"


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("sit", "sit sits sitting sat"),
        ("carry", "carries carried carrying"),
        ("ride", "rides riding rode ridden"),
        ("drag", "drags dragging dragged"),
        ("push", "pushes pushing pushed"),
        ("throw", "throws throwing threw thrown"),
        ("play", "plays playing played"),
        ("lift", "lifts lifting lifted"),
        ("pull", "pulls pulling pulled"),
        ("mop", "mops mopping mopped"),
    ],
)
def test_inflections(verb, forms):
    assert set(forms.split()) <= inflections(verb)


def test_choose_part_falls_back_to_the_largest():
    assert choose_part(thing("suitcase"), ["nothing", "handle"]) == "handle"
    assert choose_part(thing("suitcase"), ["nothing"]) == "wheels"  # most samples in this stand-in
    assert choose_part(thing("largebox"), ["handle"]) == "surface"


def graph_by_hand(*edges: str, moves: bool = True, **objects: tuple[str, ...]):
    def end(text):
        entity, part = text.split(".")
        return {"entity": "person 1" if entity == "p" else entity, "part": part}

    data = {
        "objects": [
            {"name": n, "parts": list(p), "is_translational": moves, "is_rotational": moves}
            for n, p in objects.items()
        ],
        "people": [{"name": "person 1"}],
        "edges": [
            {
                "first": end(e.split()[0]),
                "second": end(e.split()[1]),
                "is_continuous": True,
                "is_rel_static": True,
            }
            for e in edges
        ],
    }
    return PartAffordanceGraph.model_validate(data)


@pytest.mark.parametrize(
    ("edges", "moves", "verb"),
    [
        (["p.hips box.top"], False, "sit"),
        (["p.hips box.top"], True, "ride"),
        (["p.left_foot box.top", "p.right_foot box.top"], True, "ride"),
        (["p.left_foot box.top"], True, "kick"),
        (["p.left_foot box.top"], False, "step on"),
        (["p.left_hand box.sides"], True, "carry"),
        (["p.left_hand box.sides"], False, "hold"),
        (["p.left_hand box.sides", "p.head box.top"], True, "drink"),
    ],
)
def test_verb_of_a_graph_by_hand(edges, moves, verb):
    graph = graph_by_hand(*edges, moves=moves, box=PARTS["box"])
    assert script_from_graph(graph, "a person does something new", [thing("box")]).verb == verb
    assert script_from_graph(graph, "a person tosses the box", [thing("box")]).verb == "throw"


def test_a_graph_by_hand_takes_the_order_of_the_assets():
    graph = graph_by_hand(
        "table.top box.bottom", "p.left_hand box.sides", box=PARTS["box"], table=PARTS["table"]
    )
    script = script_from_graph(graph, "something new", [thing("table"), thing("box")])
    assert [node.name for node in script.graph.objects] == ["table", "box"]
    assert script.object == 1
    assert script.relations == (Relation(1, 0, "throughout"),)
    with pytest.raises(UserError, match="'bottom' is no known part"):
        script_from_graph(
            graph, "x", [thing("table"), dataclasses.replace(thing("ball"), name="box")]
        )
    alone = graph_by_hand("table.top box.bottom", box=PARTS["box"], table=PARTS["table"])
    with pytest.raises(UserError, match="no edge between a body part and an object"):
        script_from_graph(alone, "something new", [thing("table"), thing("box")])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a person lifts a box " * 20_000, "letters; at most"),
        (", ".join(["a man"] * 1000)[:4000] + " and a woman lift a box", "people; at most 16"),
        ("a thousand people lift a box", "1000 people; at most 16"),
    ],
)
@pytest.mark.slow
def test_endless_sentences_and_crowds_are_refused(text, says):
    from hoijax.objects.asset import load_asset
    from priors.language.parser import read_sentence

    with pytest.raises(UserError, match=says):
        read_sentence(text, (load_asset("box"),))
