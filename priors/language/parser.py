"""From a sentence and the objects at hand to actions: who does what with which, what stands on what."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hoijax.errors import UserError
from priors.language import sequences, unread, unsaid
from priors.language.nouns import PartedObject, find_objects
from priors.language.part_words import find_body_parts, find_object_parts
from priors.language.relations import Relation, find_relations, held_upon, pushed_upon
from priors.language.sentence import (
    CATCHING,
    DETERMINERS,
    FORWARD,
    ON,
    VerbMention,
    Words,
    departures,
    find_people,
    find_verbs,
    library,
    singular,
    tokenize,
    with_plain_up,
)
from priors.language.understanding import (
    ignored_positions,
    refuse_turned_meaning,
    unknown_verb_hint,
    unplayed,
)

BACKWARDS, FROM_GROUND, OVERHEAD = "backwards", "from ground", "overhead"
WALKS_AWAY = "then walks away"
WALKING = ("carry",)
"""Verbs whose motion goes backwards where the sentence says so."""
JOINING = {"with", "beside"}
"""'a man with a friend' does it together; 'to a friend' does not."""
HOW_TO_GIVE_A_GRAPH = (
    "Or give the part affordance graph by hand: --pag file.json (docs/bundle.md shows one)."
)


@dataclass(frozen=True)
class Action:
    """Some people do one thing with one object."""

    verb: str
    """A canonical verb, a key of the library."""
    word: str
    """The base form found in the text, such as 'put' for the verb 'carry'."""
    people: tuple[int, ...]
    """Indices into the graph's people."""
    object: int
    """Index into the objects."""
    manners: tuple[str, ...] = ()
    """How, beside the usual way: BACKWARDS, OVERHEAD, FROM_GROUND (of 'lifts it and puts it down'),
    WALKS_AWAY."""


@dataclass(frozen=True)
class Reading:
    """What a sentence says, before it becomes a graph."""

    actions: tuple[Action, ...]
    """The first is the primary one; no two are of the same people with the same object."""
    relations: tuple[Relation, ...]
    person_nouns: tuple[str, ...]
    receivers: tuple[int, ...]
    """People to whom something is thrown or given."""
    arrivals: tuple[int, ...]
    """Actions whose contact begins in the clip: 'sits down', beside 'sits'."""
    effectors: tuple[tuple[int, str], ...]
    """(action, body part): parts the text says it is done with; they replace the usual ones."""
    touched: tuple[tuple[int, str], ...]
    """(action, body part): parts the text says the object is on; they come on top."""
    named_parts: tuple[tuple[int, str], ...]
    """(object, part): parts of objects that the text names."""
    unplayed: tuple[str, ...] = ()
    """What the text says that no motion shows, as reasons."""
    ignored: tuple[str, ...] = ()
    """Words that no rule has read."""


MAX_LETTERS = 5_000
MAX_PEOPLE = 16


def _find_words(text: str, objects: Sequence[PartedObject]) -> Words:
    """Verbs, people and objects. Raises UserError for a text that is too long or has none of ours."""
    if len(text) > MAX_LETTERS:
        raise UserError(
            f"the sentence has {len(text)} letters; at most {MAX_LETTERS}. Say one interaction."
        )
    tokens = with_plain_up(tokenize(text))
    verbs = find_verbs(tokens)
    if not verbs:
        raise UserError(
            f"no known verb in {text!r}.{unknown_verb_hint(tokens)} Known: {', '.join(library()['verbs'])} (and their "
            f"inflections and common synonyms). {HOW_TO_GIVE_A_GRAPH}"
        )
    words = Words(tokens, verbs, find_people(tokens), find_objects(tokens, objects))
    count = len({person for mention in words.people for person in mention.people})
    if count > MAX_PEOPLE:
        raise UserError(
            f"the sentence speaks of {count} people; at most {MAX_PEOPLE} are animated."
        )
    return words


def read_sentence(text: str, objects: Sequence[PartedObject]) -> Reading:
    """Actions and relations of a sentence over the given objects.

    Raises UserError for a sentence without a known verb (it lists those known), and for objects of
    which the sentence does not say what happens with them.
    """
    words = _find_words(text, objects)
    refuse_turned_meaning(text, words, objects)
    subjects, receivers = _subjects(words)
    owners = _objects_of_clauses(words, objects)
    actions, action_of_clause, dropped = _merge(words, subjects, owners)
    backwards = any(BACKWARDS in action.manners for action in actions)
    names = [node.name for node in objects]
    relations = find_relations(words, owners, names)
    left = {action_of_clause[clause] for clause in departures(words)}
    actions = _with_departures(actions, left, relations)
    used = {a.object for a in actions} | {o for r in relations for o in (r.upper, r.lower)}
    unused = [
        f"{node.name!r}"
        for o, node in enumerate(objects)
        if o not in used and not words.mentions[o]
    ]
    if unused:
        raise UserError(
            f"{text!r} does not say what happens with {' and '.join(unused)}. Name every object in "
            f"the sentence, or omit its mesh. {HOW_TO_GIVE_A_GRAPH}"
        )
    effectors, touched = find_body_parts(words, action_of_clause)
    carried_there = [
        part for i, part in touched if not library()["verbs"][actions[i].verb].get("is_support")
    ]
    reasons = unplayed(words, dropped, carried_there, backwards)
    ignored = ignored_positions(words, objects, backwards)
    reasons += sequences.reasons(words, subjects, owners)
    reasons += unsaid.reasons(words, owners, used, receivers)
    if set(receivers) & {p for a in actions for p in a.people}:
        reasons.append("'catches': one person throws, and another one catches")
    reasons += unread.reasons(
        words, objects, owners, ignored, {p for a in actions for p in a.people}
    )
    reasons += unsaid.body_parts([(actions[i].verb, part) for i, part in effectors])
    reasons += unsaid.overhead(words, [(a.verb, objects[a.object].name) for a in actions])
    lifted = {action.object for action in actions if FROM_GROUND in action.manners}
    reasons += pushed_upon(words, relations, [(a.verb, a.object) for a in actions])
    reasons += held_upon(relations, [(a.verb, a.object) for a in actions], names)
    if any(r.phase == "start" and r.upper in lifted for r in relations):
        reasons.append("'puts': what is lifted from a thing is not put down again")
    nouns = {p: singular(m.noun) for m in reversed(words.people) for p in m.people}
    count = max([*nouns, 0]) + 1
    return Reading(
        tuple(actions),
        tuple(relations),
        tuple(nouns.get(p, "person") for p in range(count)),
        receivers,
        _arrivals(words, action_of_clause),
        effectors,
        touched,
        find_object_parts(words, objects, owners),
        tuple(reasons),
        tuple(words.tokens[i] for i in ignored),
    )


def _subjects(words: Words) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """(people of each clause, people at whom something is directed)."""
    people: list[list[int]] = [[] for _ in words.verbs]
    receivers: list[int] = []
    group: list[int] | None = None  # where the last mention went
    end = 0
    for mention in words.people:
        before = [i for i, v in enumerate(words.verbs) if v.position < mention.position]
        after = [i for i, v in enumerate(words.verbs) if v.position > mention.position]
        preposition = words.preposition(mention.position)
        between = words.tokens[end : mention.position]
        following = set(words.tokens[mention.position + 1 : mention.position + 3])
        is_listed = end > 0 and between != [] and {*between} <= {"and", *DETERMINERS}
        if before and following & CATCHING and preposition != "by":
            group = receivers  # 'throws a ball and a woman catches it'
        elif not before and following & CATCHING:
            group = receivers  # 'a woman catches the ball thrown by a man'
        elif is_listed:
            pass  # 'by a man and a woman': as the man
        elif not before:
            group = people[0]
        elif preposition == "by" and not people[before[-1]]:
            group = people[before[-1]]  # 'is lifted by two men'
        elif preposition in JOINING:
            group = people[before[0]]
        elif preposition is not None:
            group = receivers
        else:  # 'pushes a woman who sits', 'while another person holds'
            group = people[after[0]] if after else None
        if group is not None:
            group.extend(p for p in mention.people if p not in group)
        end = mention.position + 1
    for clause in range(len(people)):
        people[clause] = people[clause] or (people[clause - 1] if clause else [0])
    return [tuple(sorted(group)) for group in people], tuple(receivers)


def _objects_of_clauses(words: Words, objects: Sequence[PartedObject]) -> list[list[int]]:
    """The objects that each verb is about."""
    owners: list[list[int]] = []
    free = [o for o in range(len(objects)) if not words.mentions[o]]
    for clause, verb in enumerate(words.verbs):
        entry = library()["verbs"][verb.verb]
        ranked: list[tuple[int, int, int]] = []
        for o, positions in enumerate(words.mentions):
            for position in positions:
                preposition = words.preposition(position) if position != verb.position else None
                is_tool = entry.get("is_tool") and preposition in FORWARD
                is_after = words.clause_of(position) == clause and position >= verb.position
                if not is_after and not (is_tool and position < verb.position):
                    continue
                ranked.append((_preference(preposition, entry), position, o))
        if clause and _is_pronoun(words, verb):  # 'and puts it down on the table'
            ranked = [row for row in ranked if words.preposition(row[1]) is None]
        best = min(ranked)[:2] if ranked else None
        chosen = [o for *key, o in ranked if tuple(key) == best]
        if not chosen and clause:
            chosen = owners[-1]  # 'picks up a box and throws it'
        if not chosen:  # 'a person with a broom sweeps'
            earlier = [o for o, m in enumerate(words.mentions) if m and m[0] < verb.position]
            chosen = earlier[:1]
        if not chosen:
            later = [o for o, m in enumerate(words.mentions) if m]
            chosen = free[:1] if free else later[:1]
        owners.append(chosen)
    return owners


def _is_pronoun(words: Words, verb: VerbMention) -> bool:
    """Whether the verb's object is "it" or "them"."""
    return bool({"it", "them"} & set(words.tokens[verb.position + 1 : verb.position + 3]))


def _preference(preposition: str | None, entry: dict) -> int:
    """How well a noun on this preposition serves as the verb's object; smaller is better."""
    order: list[set[str | None]]
    if entry.get("is_tool"):
        order = [{*FORWARD}, {None}, {"from", "on"}]
    elif entry.get("is_support"):
        order = [{None}, {*ON}, {*FORWARD}]
    else:
        order = [{None}, {"against", "around"}, {*FORWARD}]
    return next((rank for rank, group in enumerate(order) if preposition in group), len(order))


def _merge(
    words: Words, subjects: list[tuple[int, ...]], owners: list[list[int]]
) -> tuple[list[Action], list[int], list[VerbMention]]:
    """(actions, the action that each clause went into, verbs that are not animated), primary action first.

    Of several verbs of the same people with the same object the last counts, unless it only
    prepares ('picks up and throws' is to throw).
    """
    rules = library()["verbs"]
    chosen: dict[tuple[tuple[int, ...], int], tuple[int, VerbMention]] = {}
    keys: list[tuple[tuple[int, ...], int]] = []
    manners: dict[tuple[tuple[int, ...], int], tuple[str, ...]] = {}
    dropped: list[VerbMention] = []
    for clause, verb in enumerate(words.verbs):
        people, objects = subjects[clause], owners[clause]
        pairs = [(people, item) for item in objects]
        if len(people) == len(objects) > 1:  # two people, two chairs: one each
            pairs = [((p,), item) for p, item in zip(people, objects, strict=True)]
        for key in pairs:
            old = chosen.get(key)
            if old is None or not rules[verb.verb].get("is_preparation"):
                chosen[key] = (old[0] if old else clause, verb)
                if old and old[1].verb == "lift" and verb.verb == "carry":
                    manners[key] = (FROM_GROUND,)
            if old and old[1].verb != verb.verb and not _is_prepared(old[1], verb):
                dropped.append(verb if chosen[key][1] is old[1] else old[1])
        keys.append(pairs[0])

    def rank(key: tuple[tuple[int, ...], int]) -> tuple[bool, int]:
        clause, verb = chosen[key]  # 'a man sitting on a chair lifts a box' is to lift
        return words.tokens[verb.position].endswith("ing"), clause

    order = sorted(chosen, key=rank)
    left_after = {keys[clause] for clause in departures(words)}
    actions = []
    for k in order:
        verb = chosen[k][1]
        how = manners.get(k, ())
        if verb.word in unsaid.PUT_WORDS and _is_put_away(words, verb):
            how = (FROM_GROUND,)
        if verb.verb == "lift" and k in left_after:  # 'lifts it and walks away': with it
            verb, how = VerbMention("carry", "carry", verb.position), (*how, FROM_GROUND)
        if (
            {"backward", "backwards"} & set(words.tokens)
            and verb.verb in WALKING
            and len(k[0]) == 1
        ):
            how = (*how, BACKWARDS)
        if verb.verb in unsaid.LIFTED and unsaid.is_overhead(words):
            how = (*how, OVERHEAD)
        actions.append(Action(verb.verb, verb.word, *k, how))
    return actions, [order.index(key) for key in keys], dropped


def _is_put_away(words: Words, verb: VerbMention) -> bool:
    """'puts the box away': from where it is to somewhere else."""
    following = words.tokens[verb.position + 1 :]
    end = next((i for i, token in enumerate(following) if token in ("and", "then")), None)
    return "away" in following[:end]


def _with_departures(
    actions: list[Action], left: set[int], relations: Sequence[Relation]
) -> list[Action]:
    """WALKS_AWAY where that follows in the text (`left`) and something is put down; else it comes along."""
    put = {r.upper for r in relations if r.phase == "end"}
    return [
        replace(a, manners=(*a.manners, WALKS_AWAY))
        if i in left and (a.word in unsaid.PUT_WORDS or a.object in put)
        else a
        for i, a in enumerate(actions)
    ]


def _is_prepared(first: VerbMention, then: VerbMention) -> bool:
    """'picks up and throws', 'takes and drinks' is one action; 'throws and picks up' is two."""
    is_preparation = library()["verbs"][first.verb].get("is_preparation")
    is_support = library()["verbs"][then.verb].get("is_support")  # nobody sits on what he holds
    return not is_support and (bool(is_preparation) or first.word == "take")


def _arrivals(words: Words, action_of_clause: list[int]) -> tuple[int, ...]:
    after = [words.tokens[v.position + 1 : v.position + 3] for v in words.verbs]
    arrivals = {
        action
        for action, verb, following in zip(action_of_clause, words.verbs, after, strict=True)
        if verb.verb == "sit" and ("down" in following or verb.word.endswith("a seat"))
    }
    return tuple(sorted(arrivals))
