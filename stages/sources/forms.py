"""Published layouts of preferences and answers: which columns hold what.

In: the names of a file's columns. Out: the one form that they fit. Each is a line of a table here;
what no line describes is read by naming its columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.guards.errors import UserError, did_you_mean
from stages.sources.records import list_columns
from stages.sources.verdicts import Scale


@dataclass(frozen=True, kw_only=True)
class Form:
    """One layout."""

    name: str
    columns: tuple[str, ...]
    """Those by which it is recognised."""
    prompt: tuple[str, ...] = ()
    """The columns of the request, joined by a blank line; (): the sides hold it."""
    system: str = ""
    """A column with a system turn, if the file has it."""
    first: str = ""
    """The column of one side; "": the form lists answers."""
    second: str = ""
    better: tuple[str, ...] = ()
    """Columns that may state which side is preferred; (): the first is."""
    scale: Scale = "auto"
    """What numbers in `better` mean."""
    first_safe: str = ""
    second_safe: str = ""
    scores: tuple[str, str] | None = None
    """The columns of the sides' scores, in place of `better`."""
    one_hot: tuple[str, str, str] | None = None
    """Columns with a 1 where the first side, the second or neither is preferred."""
    turn: str = ""
    """A column with the number of the turn that was judged."""
    answers: str = ""
    """A column that lists the answers to the request."""
    answer: str = ""
    """In a list of answers, the key of the text; in a file with an answer a row, its column."""
    reasoning: str = ""
    """A column with the steps that lead to the answer, which are put before it."""
    score: tuple[str, ...] = ()
    """The key, or the column, of an answer's score: the first that is there counts."""
    rank: bool = False
    """The lowest score is the best."""
    label: bool = False
    """`score` says good or bad, and nothing between."""
    flags: tuple[str, ...] = ()
    """A column with the categories that an answer falls into or not, or a column for each."""
    labels: tuple[str, ...] = ()
    """A column with labels from -1 to 1 of principles, or a column for each."""
    fallback: bool = False
    """It counts only where no other form fits."""
    tree: bool = False
    """Messages that name their parents, with ranks among siblings (OpenAssistant)."""


PAIR_FORMS = (
    Form(
        name="PKU-SafeRLHF",
        columns=("prompt", "response_0", "response_1"),
        prompt=("prompt",),
        first="response_0",
        second="response_1",
        better=("better_response_id", "safer_response_id"),
        first_safe="is_response_0_safe",
        second_safe="is_response_1_safe",
    ),
    Form(
        name="HelpSteer2-Preference",
        columns=("prompt", "response_1", "response_2", "preference_strength"),
        prompt=("prompt",),
        first="response_1",
        second="response_2",
        better=("preference_strength",),
        scale="signs",
    ),
    Form(
        name="HelpSteer3",
        columns=("context", "response1", "response2", "overall_preference"),
        prompt=("context",),
        first="response1",
        second="response2",
        better=("overall_preference",),
        scale="signs",
    ),
    Form(
        name="SHP",
        columns=("history", "human_ref_A", "human_ref_B", "labels"),
        prompt=("history",),
        first="human_ref_A",
        second="human_ref_B",
        better=("labels",),
        scale="one_or_zero",
    ),
    Form(
        name="Chatbot Arena",
        columns=("conversation_a", "conversation_b", "winner"),
        first="conversation_a",
        second="conversation_b",
        better=("winner",),
        turn="turn",
    ),
    Form(
        name="Chatbot Arena (Kaggle)",
        columns=("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b"),
        prompt=("prompt",),
        first="response_a",
        second="response_b",
        one_hot=("winner_model_a", "winner_model_b", "winner_tie"),
    ),
    Form(
        name="two responses and a winner",
        columns=("prompt", "response_a", "response_b", "winner"),
        prompt=("prompt",),
        first="response_a",
        second="response_b",
        better=("winner",),
    ),
    Form(
        name="LLMBar",
        columns=("input", "output_1", "output_2", "label"),
        prompt=("input",),
        first="output_1",
        second="output_2",
        better=("label",),
        scale="from_one",
    ),
    Form(
        name="AlpacaFarm",
        columns=("instruction", "input", "output_1", "output_2", "preference"),
        prompt=("instruction", "input"),
        first="output_1",
        second="output_2",
        better=("preference",),
        scale="from_one",
    ),
    Form(
        name="WebGPT comparisons",
        columns=("question", "answer_0", "answer_1", "score_0", "score_1"),
        prompt=("question",),
        first="answer_0",
        second="answer_1",
        scores=("score_0", "score_1"),
    ),
    Form(
        name="two texts and the preferred one",
        columns=("text_a", "text_b", "preferred_text"),
        first="text_a",
        second="text_b",
        better=("preferred_text",),
    ),
)
"""Two sides a record, one of which a column prefers."""

REQUESTS = (
    "prompt",
    "question",
    "instruction",
    "input",
    "query",
    "context",
    "messages",
    "conversations",
)
"""Columns that may hold the request beside `chosen` and `rejected`."""

SYSTEMS = ("system", "system_prompt")
"""Columns that may hold a system turn beside a request."""

LIST_FORMS = (
    Form(
        name="UltraFeedback",
        columns=("instruction", "completions"),
        prompt=("instruction",),
        answers="completions",
        answer="response",
        score=("fine-grained_score", "overall_score", "annotations"),
    ),
    Form(
        name="ranked answers (Nectar)",
        columns=("prompt", "answers"),
        prompt=("prompt",),
        answers="answers",
        answer="answer",
        score=("rank",),
        rank=True,
    ),
    Form(
        name="OpenAssistant messages",
        columns=("message_id", "parent_id", "text", "role", "rank"),
        tree=True,
    ),
)
"""Several answers with scores or ranks to one request, in one record or in a tree."""

ROW_FORMS = (
    Form(
        name="unpaired answers (KTO)",
        columns=("prompt", "completion", "label"),
        prompt=("prompt",),
        answer="completion",
        score=("label",),
        label=True,
    ),
    Form(
        name="categories of harm (BeaverTails)",
        columns=("prompt", "response", "category", "is_safe"),
        prompt=("prompt",),
        answer="response",
        score=("is_safe",),
        label=True,
        flags=("category",),
    ),
    Form(
        name="values of a dialogue (FULCRA)",
        columns=("dialogue", "value_types"),
        answer="dialogue",
        labels=("value_types",),
    ),
    Form(
        name="values of an argument (Touche)",
        columns=("Conclusion", "Stance", "Premise"),
        prompt=("Conclusion", "Stance"),
        answer="Premise",
    ),
    Form(
        name="HelpSteer",
        columns=("prompt", "response", "helpfulness", "correctness", "coherence"),
        prompt=("prompt",),
        answer="response",
        score=("helpfulness",),
    ),
    Form(
        name="conversations with a label (KTO)",
        columns=("conversations", "kto_tag"),
        answer="conversations",
        score=("kto_tag",),
        label=True,
    ),
    Form(
        name="conversations with a label (KTO)",
        columns=("messages", "label"),
        answer="messages",
        score=("label",),
        label=True,
    ),
)
"""One answer with its score a record."""

PLAIN_FORMS = (
    Form(
        name="Alpaca",
        columns=("instruction", "input", "output"),
        prompt=("instruction", "input"),
        answer="output",
    ),
    Form(
        name="Alpaca with reasoning",
        columns=("instruction", "input", "rationale", "output"),
        prompt=("instruction", "input"),
        reasoning="rationale",
        answer="output",
    ),
    Form(
        name="CoT Collection",
        columns=("source", "rationale", "target"),
        prompt=("source",),
        reasoning="rationale",
        answer="target",
    ),
    Form(
        name="prompt and completion",
        columns=("prompt", "completion"),
        prompt=("prompt",),
        answer="completion",
    ),
    Form(
        name="prompt and response",
        columns=("prompt", "response"),
        prompt=("prompt",),
        answer="response",
    ),
    Form(
        name="instruction and response",
        columns=("instruction", "response"),
        prompt=("instruction",),
        answer="response",
    ),
    Form(
        name="Dolly",
        columns=("instruction", "context", "response"),
        prompt=("instruction", "context"),
        answer="response",
    ),
    Form(
        name="instruction and output",
        columns=("instruction", "output"),
        prompt=("instruction",),
        answer="output",
    ),
    Form(
        name="question and answer",
        columns=("question", "answer"),
        prompt=("question",),
        answer="answer",
    ),
    Form(
        name="question and response",
        columns=("question", "response"),
        prompt=("question",),
        answer="response",
    ),
    Form(name="conversations", columns=("messages",), answer="messages"),
    Form(name="conversations", columns=("conversations",), answer="conversations"),
    Form(name="conversations", columns=("conversation",), answer="conversation"),
)
"""Answers without a score; where there is no prompt, a conversation ends in its answer."""

PROMPT_FORMS = (
    Form(name="conversations", columns=("messages",), prompt=("messages",)),
    Form(name="conversations", columns=("conversations",), prompt=("conversations",)),
    Form(name="conversations", columns=("conversation",), prompt=("conversation",)),
    Form(
        name="Alpaca",
        columns=("instruction", "input"),
        prompt=("instruction", "input"),
    ),
    Form(
        name="Dolly",
        columns=("instruction", "context"),
        prompt=("instruction", "context"),
    ),
    Form(name="instructions", columns=("instruction",), prompt=("instruction",)),
    Form(name="questions", columns=("question",), prompt=("question",)),
    Form(name="a history", columns=("history",), prompt=("history",)),
    Form(name="preferences", columns=("chosen", "rejected"), prompt=("chosen",), fallback=True),
)
"""Requests, in files without a column `prompt`."""


def find_system(form: Form, columns: Sequence[str], option: str | None) -> str:
    """Return the column with the system turn: the option's, the form's, or one of a usual name."""
    if option:
        return option
    for name in (form.system, *SYSTEMS):
        if name and name in columns:
            return name
    return ""


def recognise(
    columns: Sequence[str], forms: Sequence[Form], where: str, option: str, expected: str
) -> Form:
    """Return the form whose columns a file has.

    Args:
        option: what a user sets to decide, for messages.
        expected: the columns that the stage reads by default.

    Raises:
        UserError: no form fits, or several do.
    """
    fitting = [form for form in forms if set(form.columns) <= set(columns)]
    candidates = []
    for form in fitting:
        larger = any(set(form.columns) < set(other.columns) for other in fitting)
        if not larger:
            candidates.append(form)
    if not all(form.fallback for form in candidates):
        candidates = [form for form in candidates if not form.fallback]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        missing = [name for name in expected.split(", ") if name not in columns]
        name = missing[0] if missing else expected
        raise UserError(
            f"there is no column {name!r}{did_you_mean(name, list(columns))}",
            where=where,
            fix=f"set {option}; the columns are {list_columns(columns)}; docs/data.md "
            "shows the forms that are recognised",
        )
    names = [f"{form.name} ({', '.join(form.columns)})" for form in candidates]
    raise UserError(
        f"the columns fit several forms: {'; '.join(names)}",
        where=where,
        fix=f"set {option}",
    )
