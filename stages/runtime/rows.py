"""Typed rows: what flows between stages.

Every row names the prompt that it belongs to, and the rows that it was made from, so that a pair
can be traced back to its request:

    Prompt      id: the content id of its messages
    Response    prompt_id
    Revision    prompt_id, response_id
    Judgement   prompt_id, pair_id: "<response a>|<response b>", response_a_id, response_b_id
    Pair        prompt_id, chosen_id, rejected_id
    Rating      prompt_id, response_id
    Verdict     prompt_id, response_id
    Answer, Label, Tested, Question: prompt_id
    Proposal    prompt_id; sources: the rows that it was written about

`prompt_id` is the unit of every statistic: rows with the same one are not independent. It is the id
that stage `prompts` gives the request, also where the rows come from elsewhere (`human_pairs`).
`model` is a content id (16 hex digits), `template` the hash of the prompt template, `seed` the
request's seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

Message = dict[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}"""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A conversation that ends with the user's turn."""

    id: str
    messages: list[Message]
    kind: str
    """What it is for: red_team, helpful, ..."""
    source: str = ""
    """`file:line`, dataset row, or the function that made it."""

    @property
    def prompt_id(self) -> str:
        """Its id, under the name that all other rows use."""
        return self.id


@dataclass(frozen=True, kw_only=True)
class Response:
    """One sampled answer."""

    id: str
    prompt_id: str
    kind: str
    prompt: list[Message]
    response: str
    sample: int = 0
    context: list[str]
    """The principles that the generator saw; the trained prompt never holds them."""
    model: str
    seed: int
    template: str = ""
    finish_reason: str = "stop"
    """`stop`, or `length` where the text was cut off: nothing may learn its end."""
    thoughts: str = ""
    """What the model wrote before its answer, between the marks of its thoughts."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One round of critique and revision."""

    id: str
    response_id: str
    """The Response that was revised."""
    prompt_id: str
    kind: str
    prompt: list[Message]
    response: str
    """The text after this round."""
    original: str
    """The text before the first round."""
    previous: str
    """The text before this round."""
    round: int
    """1 to K."""
    principle: str
    critique_request: str
    critique: str
    revision_request: str
    faulty: bool
    """False: the critique found no fault, and the text was kept."""
    model: str
    seed: int
    template: str = ""
    finish_reason: str = "stop"
    """Of `response`, as in a Response."""
    original_finish_reason: str = "stop"
    thoughts: str = ""
    """What the model thought before it wrote `response`."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A cell of the judge matrix: one pair under one principle, in both orders.

    Margins are logit differences, log P(a) - log P(b): positive means that `response_a` is
    preferred, in either place.
    """

    id: str
    pair_id: str
    """`<response a>|<response b>`; in `judge_quality` the id of the Pair."""
    response_a_id: str
    """Empty where the text is not a row of this run."""
    response_b_id: str
    prompt_id: str
    kind: str
    prompt: list[Message]
    response_a: str
    response_b: str
    principle: str
    margin_ab: float
    """The margin with `response_a` shown first."""
    margin_ba: float
    """The margin with `response_b` shown first."""
    model: str
    template: str = ""
    rationale_ab: str = ""
    """The judge's reasoning before it chose, if it was asked for one."""
    rationale_ba: str = ""
    finish_reason_a: str = "stop"
    finish_reason_b: str = "stop"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A preference."""

    id: str
    prompt_id: str
    chosen_id: str
    """The Response or Revision with this text; empty where it is not a row of this run."""
    rejected_id: str
    kind: str
    prompt: list[Message]
    chosen: str
    rejected: str
    label: float
    """P(chosen is better): 1.0 for a hard label, in [0.5, 1] for a soft one."""
    margin: float
    """The logit difference behind the label, >= 0; 0 where no judge was asked."""
    principles: list[str] = field(default_factory=list)
    """Those it was labelled under, in the order in which a reward model reads them: ids, or the
    whole texts of principles that no constitution has.
    """
    margins_ab: list[float] = field(default_factory=list)
    """One for each principle as the judge gave it, in favour of the chosen side."""
    margins_ba: list[float] = field(default_factory=list)
    negated: list[bool] = field(default_factory=list)
    """Parallel to `principles`: labelled under its opposite; []: none."""
    deciding: str = ""
    """The principle whose verdict is the label, where a single one decided."""
    override: str = ""
    """The rule that decided in place of the principles."""
    noise: bool = False
    """The label was flipped on purpose."""
    chosen_safe: bool | None = None
    """None where it was not measured."""
    rejected_safe: bool | None = None
    chosen_finish_reason: str = "stop"
    rejected_finish_reason: str = "stop"


@dataclass(frozen=True, kw_only=True)
class Rating:
    """The score of one response on its own, by a reward model or as a judge's expected rating."""

    id: str
    response_id: str
    """The Response or Revision that was rated."""
    prompt_id: str
    """Ratings with the same one are compared with each other."""
    kind: str
    prompt: list[Message]
    response: str
    score: float
    """What ranks it among the answers to the same prompt."""
    principles: list[str]
    """The principles it was rated under."""
    negated: list[bool]
    """Parallel to `principles`."""
    scores: list[float]
    """One for each principle, where each was asked about separately; else empty."""
    model: str
    template: str = ""
    finish_reason: str = "stop"
    """Of `response`, as in a Response."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is wrong or right with one response of one policy.

    By the ground truth where there is one, by the judge otherwise. The lists run parallel to
    `principles`. A value is None where it was not measured.
    """

    id: str
    response_id: str
    prompt_id: str
    policy: str
    """The step whose responses these are."""
    kind: str
    prompt: list[Message]
    response: str
    principles: list[str]
    violated: list[bool]
    """Ground truth; empty without one."""
    judged: list[float]
    """The judge's P(violated); empty without a judge."""
    any_violation: bool | None
    """Ground truth, over the principles tagged as safety (all but `helpful`)."""
    well_formed: bool | None
    on_topic: bool | None
    evasive: bool | None
    helpful: bool | None
    rivals: list[str] = field(default_factory=list)
    """Policies with which the judge compared this one on this prompt."""
    margins_first: list[float] = field(default_factory=list)
    """Margins in favour of this one when it was shown first, one for each rival."""
    margins_second: list[float] = field(default_factory=list)
    """The same when it was shown second."""
    refused: bool | None = None
    """Whether it is a refusal, by a list of phrases or by a classifier."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """What people say of one answer under one principle."""

    id: str
    """The content id of request, answer and principle, so that it outlives the run."""
    prompt_id: str
    wording: str
    """The principle as people read it, or all that count."""
    label: float | None
    """1 if it breaks the principle, 0 if not; None where nobody has said it yet."""
    probability: float
    """With which its prompt was drawn; 1 where it was not drawn."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model's answer to a question with options; their lists run in the file's order."""

    id: str
    prompt_id: str
    """The content id of the question and its options."""
    policy: str
    """The input whose model answered."""
    kind: str
    """The question's group."""
    question: str
    options: list[str]
    gold: list[int]
    """The right options; empty: no gold label."""
    logprobs: list[float]
    """Of each option, averaged over the orders in which it was asked."""
    order: list[int]
    """The option in each place when it was asked first; further orders are its rotations."""
    taken: list[int]
    """The option that the model took, one for each order."""
    right: float | None
    """1 or 0, or a fraction where options tie; None without a gold label."""
    model: str
    template: str = ""
    context: list[str] = field(default_factory=list)
    """The principles that the model read in its system turn."""
    mass: float | None = None
    """Of a survey, asked in one order: the probability of all options; None if not known."""
    administration: str = ""
    """Of a survey: `<number of the wording>-<test or retest>`."""
    values: list[list[str]] = field(default_factory=list)
    """Of a dilemma: what each option serves and the other does not."""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The result of one test of a reward model on one request."""

    id: str
    """`<model>/<test>/<number of the request>`."""
    prompt_id: str
    model: str
    """The input's name."""
    test: str
    value: float
    """The fraction of right answers, in [0, 1]."""
    kind: str = ""
    """The kind of the pairs, where a section counts a request once for each kind; else ""."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question of a judge's examination, and its answer."""

    id: str
    """`<prompt>/<form>/<contrast>/<wording>/<place>`."""
    prompt_id: str
    kind: str
    prompt: list[Message]
    form: str
    """`choices` (A or B) or `yes_no`."""
    contrast: str
    """How the two answers of the request differ, such as `natural` or `shuffled`."""
    wording: str
    """`principle`, `opposite`, `paraphrase`, or `repeat`: the first question once more."""
    place: str
    """Of choices the order, `ab` or `ba`; of Yes or No the answer asked about, `a` or `b`."""
    first: str
    """The answer `a`: the better one, where one is known to be better."""
    second: str
    """The answer `b`."""
    principle: str
    """Its id."""
    text: str
    """What the judge read of it."""
    log_odds: float
    """Of A against B, or of Yes against No."""
    mass: float | None
    """The probability of both options together; None if it is not known."""
    model: str
    template: str = ""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A principle of no constitution: one that a model wrote, or a criterion of a rubric."""

    id: str
    """The principle's id: a slug, with a mark of its content where a model wrote it."""
    prompt_id: str
    """A criterion's request, or that of the first source; "" for none."""
    text: str
    opposite: str = ""
    weight: float = 1.0
    """Of a criterion that names a fault it is below 0."""
    gate: bool = False
    """A criterion without which the answer has the lowest score."""
    sources: list[str] = field(default_factory=list)
    """Ids of the rows that it, and all that were merged into it, were written about."""
    wordings: list[str] = field(default_factory=list)
    """The texts of those that were merged into it."""
    votes: list[int] = field(default_factory=list)
    """Comparisons for it, against it, and to which it does not apply; []: no vote yet."""
    origin: str = ""
    """Where it comes from, in words, as its constitution file says."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A row that was left out, and why."""

    id: str
    reason: str
    """Shared by rows of the same kind: the manifest counts each reason."""
    detail: str = ""
    """What is true of this row alone, such as the words of a server."""


Row = (
    Prompt
    | Response
    | Revision
    | Judgement
    | Pair
    | Rating
    | Verdict
    | Label
    | Answer
    | Tested
    | Question
    | Proposal
)
"""What a step makes."""
ROW_TYPES: dict[str, type] = {row_type.__name__: row_type for row_type in (*get_args(Row), Dropped)}


def request_text(messages: Sequence[Message]) -> str:
    """Return a conversation as one text for a judge.

    It is the bare request if there is one turn, else a transcript.
    """
    if len(messages) == 1:
        return messages[0]["content"]
    turns = []
    for message in messages:
        turns.append(f"{message['role'].capitalize()}: {message['content']}")
    return "\n".join(turns)
