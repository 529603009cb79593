"""The graph of a sentence by language rules: the language role without any weights."""

from collections.abc import Sequence

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.objects.asset import Asset
from priors.protocols import ModelId

__all__ = ["RulesLanguage"]


class RulesLanguage:
    """Reads the verbs it knows (`priors.language.script`); UserError names them for other sentences."""

    model_id = ModelId("hoijax rules", "1")

    def graph(self, text: str, assets: Sequence[Asset], seed: int) -> PartAffordanceGraph:
        """The graph; the same for every seed."""
        from priors.language.script import affordance_from_text

        return affordance_from_text(text, assets)
