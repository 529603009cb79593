"""The part affordance graph: every problem at once, and the integer table it becomes."""

import json

import numpy as np
import pydantic
import pytest

from hoijax.affordance.contact_table import ContactKind, compile_contacts
from hoijax.affordance.graph import (
    BODY_PARTS,
    AffordanceEdge,
    PartAffordanceGraph,
    PartReference,
    mirrored_body_part,
)
from hoijax.errors import UserError

PARTS = {"barbell": ("bar", "weights"), "table": ("legs", "top")}


def edge(first, second, is_continuous=True, is_rel_static=True):
    ends = [dict(zip(("entity", "part"), end.split("."), strict=True)) for end in (first, second)]
    return {
        "first": ends[0],
        "second": ends[1],
        "is_continuous": is_continuous,
        "is_rel_static": is_rel_static,
    }


def node(name, *parts):
    return {
        "name": name,
        "parts": list(parts),
        "is_translational": name == "barbell",
        "is_rotational": False,
    }


def graph_data(*edges, people=("person 1",)):
    return {
        "objects": [node("barbell", "bar", "weights"), node("table", "top")],
        "people": [{"name": name} for name in people],
        "edges": list(edges) or [edge("person 1.left_hand", "barbell.bar")],
        "video_prompt": "A person lifts a barbell.",
    }


def parse(data) -> PartAffordanceGraph:
    return PartAffordanceGraph.from_json(json.dumps(data))


def problems_of(data) -> str:
    with pytest.raises(UserError) as caught:
        parse(data)
    return str(caught.value)


def with_change(data, path, value):
    """A copy with the value at a path replaced, or removed where value is `...`."""
    data = json.loads(json.dumps(data))
    item = data
    for key in path[:-1]:
        item = item[key]
    if value is ...:
        del item[path[-1]]
    else:
        item[path[-1]] = value
    return data


def test_round_trip(tmp_path):
    graph = parse(graph_data(edge("barbell.weights", "table.top", False)))
    assert PartAffordanceGraph.from_json(graph.to_json()) == graph
    file = tmp_path / "pag.json"
    file.write_text(graph.to_json())
    assert PartAffordanceGraph.from_json(file) == graph
    assert json.loads(graph.to_json())["edges"][0]["is_continuous"] is False


def test_frozen():
    with pytest.raises(pydantic.ValidationError):
        parse(graph_data()).video_prompt = "x"


@pytest.mark.parametrize("spelling", ["left_hand", "Left hand", "left-hand", " LEFT  HAND "])
def test_body_parts_in_any_spelling(spelling):
    assert parse(graph_data(edge(f"person 1.{spelling}", "barbell.bar"))).edges[0].first.part == (
        "left_hand"
    )


CHANGES = [
    (("objects", 0, "parts"), ..., r"objects[0].parts: is missing; the keys here are name, parts"),
    (("objects", 0, "parts"), [], "objects[0].parts: is empty; give at least one"),
    (("objects", 0, "parts"), "bar", "objects[0].parts: must be a JSON list"),
    (("objects", 0, "parts"), ["bar", "bar"], "objects[0].parts[1]: 'bar' is listed twice"),
    (("objects", 0, "is_rotational"), "yes", "objects[0].is_rotational: must be true or false"),
    (("objects", 0, "name"), 3, "objects[0].name: Input should be a valid string"),
    (("objects", 0, "name"), "../x", "objects[0].name: must be a name without slashes"),
    (("objects", 0, "description"), "a " * 21, "objects[0].description: has 21 words; at most 20"),
    (("objects", 1, "name"), "barbell", "objects[1].name: 'barbell' is already used"),
    (("objects", 1), 5, "objects[1]: must be a JSON object"),
    (("objects",), [], "objects: is empty"),
    (("people", 0, "name"), "table", "people[0].name: 'table' is already used"),
    (("people",), ..., "people: is missing; the keys here are objects, people, edges"),
    (("edges",), [], "edges: is empty"),
    (("edges", 0, "weight"), 1, "edges[0].weight: is not a key of the schema; the keys here are"),
    (("edges", 0, "is_continuous"), 1, "edges[0].is_continuous: must be true or false"),
    (("edges", 0, "first"), "left hand", "edges[0].first: must be a JSON object"),
    (
        ("edges", 0, "first", "entity"),
        "person 2",
        "edges[0].first.entity: 'person 2' is no known object or person; did you mean 'person 1'?",
    ),
    (
        ("edges", 0, "first", "part"),
        "left_elbow",
        "edges[0].first.part: 'left_elbow' is no known body part; did you mean 'left_leg'? known: "
        "left_hand, right_hand",
    ),
    (
        ("edges", 0, "second", "part"),
        "grip",
        "edges[0].second.part: 'grip' is no known part of 'barbell'; known: bar, weights",
    ),
    (
        ("edges", 0, "second", "entity"),
        "person 1",
        "edges[0].second.part: 'bar' is no known body part",
    ),
    (("video_prompt",), "word " * 151, "video_prompt: has 151 words; at most 150"),
    (("video_prompt",), "w" * 10_001, "video_prompt: String should have at most 10000 characters"),
    (
        ("objects", 0, "description"),
        "w" * 10_001,
        "objects[0].description: String should have at most",
    ),
    (("objects", 0, "name"), "w" * 81, "objects[0].name: String should have at most 80 characters"),
]


@pytest.mark.parametrize(("path", "value", "message"), CHANGES)
def test_each_problem_says_where_and_what(path, value, message):
    assert message in problems_of(with_change(graph_data(), path, value))


def test_all_problems_at_once():
    data = graph_data(
        edge("person 1.nose", "barbell.bar"),
        edge("barbell.bar", "barbell.weights"),
        edge("person 1.head", "person 1.hips"),
        edge("person 1.head", "chair.seat"),
        edge("barbell.bar", "table.legs", is_continuous="often"),
        edge("table.top", "barbell.weights"),
        edge("barbell.weights", "table.top"),
    )
    data["color"] = 1
    text = problems_of(data)
    for message in (
        "has 8 problems",
        "color: is not a key",
        "edges[0].first.part: 'nose'",
        "edges[1]: joins 'barbell' with 'barbell'",
        "edges[2]: joins 'person 1' with 'person 1'",
        "edges[3].second.entity: 'chair' is no known object or person; known: barbell, table, person",
        "edges[4].is_continuous: must be true or false",
        "edges[4].second.part: 'legs' is no known part of 'table'; known: top",
        "edges[6]: repeats edges[5]",
    ):
        assert message in text


def test_a_body_part_cannot_touch_two_objects_throughout():
    left = edge("person 1.left_hand", "barbell.bar")
    also = edge("person 1.left_hand", "table.top")
    text = problems_of(graph_data(left, also))
    assert "edges[1]: left_hand of 'person 1' touches 'table' throughout, and in edges[0]" in text
    parse(graph_data(left, also | {"is_continuous": False}))
    parse(graph_data(left, edge("person 1.left_hand", "barbell.weights")))
    parse(graph_data(left, edge("Bo.left_hand", "table.top"), people=("person 1", "Bo")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"objects": 3, "people": {}, "edges": null}', "edges: must be a JSON list"),
    ],
)
def test_what_is_no_graph(text, message):
    with pytest.raises(UserError, match="the part affordance graph") as caught:
        PartAffordanceGraph.from_json(text)
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.json: No such file"):
        PartAffordanceGraph.from_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="Is a directory"):
        PartAffordanceGraph.from_json(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        PartAffordanceGraph.from_json(tmp_path / "bytes.json")


def test_text_is_never_a_path(tmp_path, monkeypatch):
    (tmp_path / "pag.json").write_text(json.dumps(graph_data()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is not JSON"):
        PartAffordanceGraph.from_json("pag.json")


def test_direct_construction_is_checked_too():
    graph = parse(graph_data())
    wrong = AffordanceEdge(
        first=PartReference(entity="person 1", part="tail"),
        second=PartReference(entity="barbell", part="bar"),
        is_continuous=True,
        is_rel_static=True,
    )
    with pytest.raises(pydantic.ValidationError, match="'tail' is no known body part"):
        PartAffordanceGraph(objects=graph.objects, people=graph.people, edges=(wrong,))


def test_schema_for_a_language_model():
    schema = PartAffordanceGraph.model_json_schema()
    assert set(schema["required"]) == {"objects", "people", "edges"}
    assert schema["additionalProperties"] is False


def test_mirrored():
    assert mirrored_body_part("left_foot") == "right_foot"
    assert mirrored_body_part("head") is None
    pairs = [part for part in BODY_PARTS if mirrored_body_part(part) in BODY_PARTS]
    assert len(pairs) == 10


# --- the contact table ---


def table_of(*edges, people=("person 1",), parts=PARTS):
    return compile_contacts(parse(graph_data(*edges, people=people)), parts)


def test_indices_are_those_of_the_assets():
    table = table_of(
        edge("barbell.weights", "person 1.right_foot", False, True),
        edge("table.top", "barbell.bar", True, False),
        parts={"table": ("legs", "top"), "barbell": ("bar", "weights")},
    )
    assert table.kind.tolist() == [ContactKind.BODY_OBJECT, ContactKind.OBJECT_OBJECT]
    assert table.person.tolist() == [0, -1]
    assert table.body_part.tolist() == [BODY_PARTS.index("right_foot"), -1]
    assert table.mirrored_body_part.tolist() == [BODY_PARTS.index("left_foot"), -1]
    assert table.object.tolist() == [1, 0]
    assert table.part.tolist() == [1, 1]
    assert table.other_object.tolist() == [-1, 1]
    assert table.other_part.tolist() == [-1, 0]
    assert table.is_continuous.tolist() == [False, True]
    assert table.is_rel_static.tolist() == [True, False]
    assert table.object_is_translational.tolist() == [False, True]
    assert table.object_is_rotational.tolist() == [False, False]
    assert table.part.dtype == np.int32
    assert table.edge_count == 2


@pytest.mark.parametrize(
    ("edges", "groups", "either"),
    [
        (["left_hand barbell.bar", "right_hand barbell.bar"], [0, 0], [False, False]),
        (["left_hand barbell.bar"], [0], [True]),
        (["hips table.top", "head barbell.bar"], [0, 1], [False, False]),
        # The other hand is busy with another part: it cannot stand in.
        (["left_hand barbell.bar", "right_hand barbell.weights"], [0, 1], [False, False]),
        (["left_hand barbell.bar", "right_foot barbell.bar"], [0, 1], [True, True]),
        (
            ["right_hand barbell.bar", "head table.top", "left_hand barbell.bar"],
            [0, 1, 0],
            [False, False, False],
        ),
    ],
)
def test_groups_and_free_sides(edges, groups, either):
    rows = [edge(f"person 1.{body}", thing) for body, thing in (e.split() for e in edges)]
    table = table_of(*rows)
    assert table.group.tolist() == groups
    assert table.either_side.tolist() == either
    assert table.group_count == max(groups) + 1


def test_hands_with_different_flags_or_owners_are_no_set():
    left, right = "person 1.left_hand", "person 1.right_hand"
    apart = table_of(edge(left, "barbell.bar", True), edge(right, "barbell.bar", False))
    assert apart.group.tolist() == [0, 1]
    assert apart.either_side.tolist() == [False, False]
    people = ("person 1", "person 2")
    two = table_of(
        edge(left, "barbell.bar"), edge("person 2.right_hand", "barbell.bar"), people=people
    )
    assert two.group.tolist() == [0, 1]
    assert two.either_side.tolist() == [True, True]
    assert two.person.tolist() == [0, 1]


def test_a_graph_that_does_not_fit_the_objects():
    with pytest.raises(UserError) as caught:
        table_of(parts={"barbell": ("rod",), "tabel": ("top",)})
    for message in (
        "objects[0].parts[0]: 'bar' is no known part of 'barbell'; known: rod",
        "objects[1].name: 'table' is no known object; did you mean 'tabel'? known: barbell, tabel",
        "'tabel' is loaded but not in the graph",
    ):
        assert message in str(caught.value)


def test_an_object_without_labeled_parts_is_touched_anywhere():
    data = graph_data(edge("person 1.hips", "table.surface"))
    data["objects"][1]["parts"] = ["surface"]
    table = compile_contacts(parse(data), {**PARTS, "table": ()})
    assert (table.object.tolist(), table.part.tolist()) == ([1], [-1])
