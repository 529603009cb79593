"""What of a script cannot be shown at once: two motions of one body, or two of one object."""

from itertools import combinations

from priors.choreography.motions import together
from priors.language.script import Action, Script

SUPPORTS = ("sit", "ride", "step on")
SLIDING = together.ON_GROUND
ON_FOOT = (*SLIDING, "kick", *SUPPORTS)
"""What nobody does who sits."""
WALKING = ("carry", "transport", "bring", "tote", "lug", "move", "deliver", "walk with")
"""Words for carrying, where putting and taking need no step."""
LET_GO = ("throw", "play")
"""Verbs that move the arms in a way that leaves no place for work of the other hand."""
TAKEN_UP = ("throw",)
"""Verbs whose second person has a part of their own: catching."""


def conflicts(script: Script) -> list[str]:
    """Reasons, for people, why the actions of a script cannot all be shown."""
    names = [node.name for node in script.graph.objects]
    reasons = []
    for action in script.actions:
        is_shared = action.verb in (*together.SHARED, *TAKEN_UP)
        if len(action.people) > 1 and not is_shared:
            reasons.append(
                f"{action.verb!r}: one person at a time does that with {names[action.object]!r}"
            )
    for first, second in combinations(script.actions, 2):
        both = f"{first.word!r} and {second.word!r}"
        if set(first.people) & set(second.people):
            if _needs_two_bodies(first, second) or _needs_two_bodies(second, first):
                reasons.append(
                    f"{both}: nobody does both at once, and one after the other is not made"
                )
        elif first.object == second.object and not is_moved_seat(script, first, second):
            reasons.append(
                f"{both}: two people move {names[first.object]!r} each in a way of their own"
            )
    return reasons


def is_moved_seat(script: Script, first: Action, second: Action) -> bool:
    """Whether one person sits on what another pushes or pulls; what is dragged is tilted."""
    return any(
        a.verb == "sit" and b.verb in ("push", "pull")
        for a, b in ((first, second), (second, first))
    )


def _needs_two_bodies(first: Action, second: Action) -> bool:
    if first.verb in SUPPORTS and second.verb in (*SUPPORTS, "kick"):
        return True
    if first.verb in LET_GO and second.verb in (*SLIDING, "lift", "swing", "drink"):
        return True
    is_walking = second.verb in ON_FOOT or (second.verb == "carry" and second.word in WALKING)
    return first.verb == "sit" and is_walking
