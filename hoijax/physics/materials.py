"""What things weigh, by the material their name or the user names: kg per cubic metre of convex hull."""

from hoijax.errors import UserError
from hoijax.objects.usual_sizes import words_of

MATERIALS = {
    "cardboard": 40.0,  # a moving box, nearly empty
    "wood": 40.0,  # furniture: mostly air within its hull
    "plastic": 60.0,
    "fabric": 60.0,  # upholstery, bags
    "filled": 150.0,  # a packed box or suitcase
    "metal": 150.0,  # frames and tools
    "ceramic": 500.0,
    "glass": 500.0,
    "stone": 2000.0,
}
"""Of the hull of a usual thing of it, not of the solid."""
NOUNS = {
    "cardboard": "carton box largebox smallbox package parcel",
    "wood": "wooden chair woodchair whitechair table largetable smalltable desk stool shelf bench broom",
    "plastic": "plasticbox bin bucket tray skateboard keyboard ball basketball football",
    "fabric": "sofa couch armchair bed backpack pillow cushion bag",
    "filled": "suitcase trashcan box_filled",
    "metal": "barbell dumbbell kettlebell ladder tripod clothesstand floorlamp monitor laptop bicycle bike",
    "ceramic": "cup mug plate bowl teapot vase",
    "glass": "bottle glass jar",
}
"""What things are usually of, by noun."""
UNKNOWN_DENSITY = 100.0
_BY_WORD = {noun: material for material, nouns in NOUNS.items() for noun in nouns.split()}


def density_of(name: str = "", material: str | None = None) -> tuple[float, str]:
    """(kg/m3 of the hull, how it was chosen). UserError for a material that has no row."""
    if material is not None:
        if material not in MATERIALS:
            raise UserError(
                f"no density for the material '{material}': give one of {', '.join(MATERIALS)}, or --density."
            )
        return MATERIALS[material], f"{material}, given"
    words = words_of(name)
    word = next((w for w in words if w in MATERIALS or w in _BY_WORD), None)
    if word is None:
        return UNKNOWN_DENSITY, "unknown material"
    named = word if word in MATERIALS else _BY_WORD[word]
    return MATERIALS[named], f"{named}, by its name '{word}'"
