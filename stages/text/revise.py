"""Stage `revise`: the model criticises its answer under a principle and rewrites it, K rounds.

In: `responses` (Response), `model`. Out: K Revision rows a response.

Constitutional AI, Bai et al. 2022 (arXiv 2212.08073), section 3.1: each round draws its principle
independently,
and with `context: collapse` sees only the request and the latest text, never older critiques.
`context: append` keeps the whole conversation, as the open one-revision recipe of Hugging Face
    does. The paper rewrites always;
`only_faulty` rewrites only where the critique finds a fault, which spares fine answers and half of
the calls.
`critique: false` rewrites directly (the paper's ablation in section 3.5).

Left out: the paper's few-shot transcripts are not shipped; give your own through `demonstrations`.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.generation import Sampling
from stages.runtime.rows import Message, Response, Revision
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.templates import is_shipped, render, template_hash

_PREAMBLE = re.compile(
    r"^[^\n]{0,120}\b(revis|rewrit|rewrote|updated|improved)[^\n]{0,80}:\s*\n+", re.IGNORECASE
)


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: whose principles are drawn, one a round.
    rounds: K, at least 1.
    context: what a later round sees of earlier ones.
    critique: ask for a critique before the rewriting.
    only_faulty: keep the text where the critique begins with `no_fault`.
    no_fault: how a critique that finds nothing begins (case does not matter); a row's `faulty` says
        which did not.
    demonstrations: a YAML file with a list of conversations, put before every request.
    strip_preamble: cut a leading line such as "Here is a revised response:".
    """

    constitution: Selection
    rounds: int = 1
    context: Literal["collapse", "append"] = "collapse"
    critique: bool = True
    only_faulty: bool = False
    no_fault: str = "No fault"
    sampling: Sampling = field(default_factory=Sampling)
    demonstrations: str | None = None
    strip_preamble: bool = True
    critique_template: str = "text/critique.jinja"
    revise_template: str = "text/revise.jinja"
    direct_template: str = "text/revise_directly.jinja"


def identity(config: Config) -> dict[str, Any]:
    templates = (
        ("critique_template", "revise_template") if config.critique else ("direct_template",)
    )
    unused = {"critique_template", "revise_template", "direct_template"} - set(templates)
    ours = all(
        is_shipped(getattr(config, name)) for name in templates
    )  # another may read any field of a principle
    read = ("text", "critique", "revision", "weight") if ours else tuple(Principle.model_fields)
    shots = (
        Path(config.demonstrations).read_bytes()
        if config.demonstrations and Path(config.demonstrations).is_file()
        else b""
    )
    return (
        {
            "constitution": select(config.constitution).identity(*read),
            "demonstrations": hashlib.sha256(shots).hexdigest()[:16] if shots else None,
        }
        | {name: template_hash(getattr(config, name)) for name in templates}
        | dict.fromkeys(unused)
    )


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Run K rounds on every response; an empty critique, or a revision that is empty or cut off,
    drops the response.
    """
    if config.rounds < 1:
        raise UserError(
            "`rounds` must be at least 1",
            where=f"step {context.step!r}",
            fix="to train without revisions, leave the step out",
        )
    if config.only_faulty and not config.critique:
        raise UserError(
            "`only_faulty` needs critiques",
            where=f"step {context.step!r}",
            fix="set `critique: true` or `only_faulty: false`",
        )
    model = inputs["model"].model()
    generator = context.generator(model)
    principles = select(config.constitution).principles
    shots = _demonstrations(config.demonstrations)
    template = template_hash(
        config.critique_template if config.critique else config.direct_template
    )

    async def rounds(response: Response) -> list[Revision]:
        text, made = response.response, []
        opening: list[Message] = [*shots, *response.prompt]
        for number in range(1, config.rounds + 1):
            principle = assign(principles, response.id, context.seed, number)
            seed = derive_seed(context.seed, response.id, "revise", number)
            turn = await _one_round(config, generator, opening, text, principle, seed)
            row = Revision(
                id=f"{response.id}-r{number}",
                response_id=response.id,
                prompt_id=response.prompt_id,
                kind=response.kind,
                prompt=response.prompt,
                response=turn.text,
                original=response.response,
                previous=text,
                round=number,
                principle=principle.id,
                critique_request=turn.critique_request,
                critique=turn.critique,
                revision_request=turn.revision_request,
                faulty=turn.faulty,
                model=model.content,
                seed=seed,
                template=template,
            )
            made.append(row)
            text = turn.text
            if config.context == "append":
                opening = turn.conversation
        return made

    rows, dropped = context.map(inputs["responses"].rows(Response), rounds)
    return Result(rows=rows, row_type=Revision, dropped=dropped, metrics=_metrics(rows))


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("model", "responses"),
    calls_generator=True,
    identity=identity,
)


@dataclass(frozen=True)
class Turn:
    """What one round gave. `conversation` is all that was said before the new text, for a round
    that appends to it.
    """

    text: str
    faulty: bool
    critique_request: str
    critique: str
    revision_request: str
    conversation: list[Message]


async def _one_round(
    config: Config,
    generator: RememberedGenerator,
    opening: list[Message],
    text: str,
    principle: Principle,
    seed: int,
) -> Turn:
    asked = critique = ""
    faulty = True
    conversation = [*opening, {"role": "assistant", "content": text}]
    if config.critique:
        asked = render(config.critique_template, principle=principle)
        conversation = [*conversation, {"role": "user", "content": asked}]
        critique = (
            await generator.complete(conversation, config.sampling, derive_seed(seed, "critique"))
        ).text.strip()
        if not critique:
            raise Drop("empty critique")
        conversation = [*conversation, {"role": "assistant", "content": critique}]
        faulty = not critique.lower().startswith(config.no_fault.lower())
        if config.only_faulty and not faulty:
            return Turn(text, False, asked, critique, "", opening)
    request = render(
        config.revise_template if config.critique else config.direct_template, principle=principle
    )
    conversation = [*conversation, {"role": "user", "content": request}]
    completion = await generator.complete(
        conversation, config.sampling, derive_seed(seed, "revision")
    )
    if completion.finish_reason == "length":
        raise Drop("revision cut off at max_tokens")
    revised = completion.text.strip()
    if config.strip_preamble:
        revised = _PREAMBLE.sub("", revised, count=1).strip()
    if not revised:
        raise Drop("empty revision")
    return Turn(revised, faulty, asked, critique, request, conversation)


def _demonstrations(path: str | None) -> list[Message]:
    if path is None:
        return []
    try:
        conversations = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return [
            {"role": str(m["role"]), "content": str(m["content"])}
            for conversation in conversations
            for m in conversation
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"the demonstrations cannot be read: {error}",
            where=path,
            fix="give a YAML list of conversations, each a list of {role, content}",
        ) from None


def _metrics(rows: list[Revision]) -> dict[str, Any]:
    """Per principle: how often it was drawn, found a fault, and changed the text."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        entry = counts.setdefault(row.principle, {"drawn": 0, "faulty": 0, "changed": 0})
        entry["drawn"] += 1
        entry["faulty"] += row.faulty
        entry["changed"] += row.response != row.previous
    return {"principles": counts}
