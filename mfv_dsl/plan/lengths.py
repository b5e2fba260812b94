"""How long prompts are, before there are any."""

from __future__ import annotations

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts

#: Tokens of a demonstration and of a query in the prompt template, about.
_SHOT_TOKENS, _QUERY_TOKENS = 9, 6


def prompt_tokens(facts: ModelFacts, shots: int) -> int:
    """About how many tokens a prompt with ``shots`` demonstrations has, each with its picture."""
    return shots * _SHOT_TOKENS + _QUERY_TOKENS + (shots + 1) * facts.picture_tokens


def check_pictures(facts: ModelFacts, model: str, shots: int) -> None:
    """Refuse (MFV7286) prompts whose pictures alone are more tokens than ``model`` takes."""
    pictures = (shots + 1) * facts.picture_tokens
    if facts.context and pictures > facts.context:
        raise MfvError(
            "MFV7286",
            f"the pictures of a {shots}-shot prompt are about {pictures:,} tokens, "
            f"{facts.picture_tokens:,} each, and the model `{model}` takes {facts.context:,}",
            help="use fewer shots, or smaller pictures: `tiles` and `pixels` of hf(...)",
        )
