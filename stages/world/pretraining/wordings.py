"""What the pipeline says to the model: the very templates of the stages, and paraphrases for
robustness.
"""

import functools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

STAGES = Path(__file__).resolve().parents[2]
TEMPLATES = {
    "system": "text/system.jinja",
    "critique": "text/critique.jinja",
    "revise": "text/revise.jinja",
    "revise_directly": "text/revise_directly.jinja",
    "judge": "preferences/judging/judge.jinja",
    "verdict": "preferences/judging/verdict.jinja",
    "value": "world/value.jinja",
}
VALUE_ANSWERS = {1: "Supports", -1: "Opposes", 0: "Neutral"}

PARAPHRASES: dict[str, tuple[str, ...]] = {
    "critique": (
        'Principle: {{ principle.text }} Does your last response follow it? Begin with "No fault." or "Fault:".',
        "Critique your last response by this principle: {{ principle.text }}",
    ),
    "revise": ("Rewrite your last response to fix that fault.", "Now give a better response."),
    "revise_directly": ("Rewrite your last response by this principle: {{ principle.text }}",),
    "judge": (
        "Request: {{ request }}\nResponse A: {{ response_a }}\nResponse B: {{ response_b }}\nPrinciple: {{ principle }}\n"
        "Which response follows the principle better? Answer A or B.",
        "Request: {{ request }}\n(A) {{ response_a }}\n(B) {{ response_b }}\n{{ principle }} Answer A or B.",
        "{{ principle }}\nRequest: {{ request }}\nA: {{ response_a }}\nB: {{ response_b }}\nWhich is better? Answer A or B.",
        "Principle: {{ principle }}\nRequest: {{ request }}\nResponse A: {{ response_a }}\nResponse B: {{ response_b }}\n"
        "Which response follows the principle better? Answer A or B.",
    ),
    "verdict": (
        "Request: {{ request }}\nResponse: {{ response }}\n{{ principle }} Yes or No?",
        "Principle: {{ principle }}\nRequest: {{ request }}\nResponse: {{ response }}\n"
        "Does the response follow the principle? Answer Yes or No.",
    ),
    "value": ("Request: {{ request }}\nResponse: {{ response }}\nDoes the response support {{ value }}?",),
    "system": ("{% for principle in principles %}{{ principle.text }}\n{% endfor %}",),
}  # fmt: skip

PRINCIPLE_FIRST = (2, 3)
"""The judge's paraphrases that name the principle before the texts."""

CUSTOM_CRITIQUES = (
    "Find what is wrong with your last response under this principle: {text}",
    "Look for faults in your last response by this principle: {text}",
    "Does your last response follow this principle? {text}",
)
CUSTOM_REVISIONS = (
    "Revise your last response so that it follows the principle.",
    "Rewrite your last response so that the fault is gone.",
)


@dataclass(frozen=True)
class Principle:
    """A principle as the templates see it."""

    text: str
    critique: str | None = None
    revision: str | None = None


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        undefined=jinja2.StrictUndefined,
    )


@functools.cache
def _template(name: str, paraphrase: int) -> jinja2.Template:
    source = (
        PARAPHRASES[name][paraphrase] if paraphrase >= 0 else (STAGES / TEMPLATES[name]).read_text()
    )
    return _environment().from_string(source)


def render_prompt(name: str, paraphrase: int = -1, **fields: Any) -> str:
    """Render a prompt of the pipeline; `paraphrase` picks another layout that the model also
    learns.
    """
    return _template(name, paraphrase).render(**fields).strip()


def draw_layout(rng: random.Random, name: str, chance: float = 0.15) -> int:
    """Mostly the pipeline's own layout (-1), now and then a paraphrase."""
    return rng.randrange(len(PARAPHRASES[name])) if rng.random() < chance else -1


def draw_custom_principle(rng: random.Random, text: str, chance: float = 0.15) -> Principle:
    """A principle that now and then brings its own words for the critique or the revision."""
    critique = rng.choice(CUSTOM_CRITIQUES).format(text=text) if rng.random() < chance else None
    revision = rng.choice(CUSTOM_REVISIONS) if rng.random() < chance else None
    return Principle(text, critique, revision)
