"""The answers that a judge's examination is about: those of a step, or a few that are sampled now.

Sampled answers are asked for exactly as stage `respond` asks, with the same seeds. What `respond`
has answered costs nothing here, and what is answered here costs nothing there.
"""

import asyncio
from collections.abc import Mapping, Sequence

from stages.evaluation.instrument.planted import Case
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Prompt, Response
from stages.runtime.store import derive_seed

OTHERS = ("judge", "model", "responses", "pairs")


class Answers:
    """Answers to requests, each of them asked for once.

    Args:
        inputs: of the stage.
        sampling: of answers that no input holds.
    """

    def __init__(self, inputs: Mapping[str, Artifact], sampling: Sampling, context: Context):
        self.seed = context.seed
        self.inputs = inputs
        self.requests: dict[str, Prompt | Response] = {}
        self._stored: dict[str, list[str]] = {}
        if "responses" in inputs:
            self._read_responses(inputs["responses"])
        else:
            self._read_prompts()
        self._sampling = sampling
        self._generator = context.generator(self._model())
        self._tasks: dict[tuple[str, int], asyncio.Task[str]] = {}

    def _read_responses(self, artifact: Artifact) -> None:
        for row in artifact.rows(Response):
            self.requests.setdefault(row.prompt_id, row)
            texts = self._stored.setdefault(row.prompt_id, [])
            texts.append(row.response)

    def _read_prompts(self) -> None:
        for name, artifact in self.inputs.items():
            if name in OTHERS:
                continue
            for prompt in artifact.rows(Prompt):
                self.requests.setdefault(prompt.id, prompt)

    def _model(self) -> Model:
        return (self.inputs.get("model") or self.inputs["judge"]).model()

    async def case(self, ids: Sequence[str], place: int) -> Case:
        """Return the request at a place with two answers to it, and the next request's answer."""
        prompt_id = ids[place]
        row = self.requests[prompt_id]
        return Case(
            id=prompt_id,
            kind=row.kind,
            prompt=row.messages if isinstance(row, Prompt) else row.prompt,
            answer=await self._answer(prompt_id, 0),
            second=await self._answer(prompt_id, 1),
            other=await self._answer(ids[(place + 1) % len(ids)], 0),
        )

    async def _answer(self, prompt_id: str, sample: int) -> str:
        """Return an answer; "" where a step made fewer."""
        if self._stored:
            texts = self._stored[prompt_id]
            return texts[sample] if sample < len(texts) else ""
        key = (prompt_id, sample)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._sample(prompt_id, sample))
        return await self._tasks[key]

    async def _sample(self, prompt_id: str, sample: int) -> str:
        row = self.requests[prompt_id]
        assert isinstance(row, Prompt)
        seed = derive_seed(self.seed, prompt_id, "respond", sample)
        completion = await self._generator.complete(row.messages, self._sampling, seed)
        return completion.text.strip()


def read_cases(answers: Answers, limit: int, where: str) -> list[str]:
    """Return the ids of up to `limit` requests, drawn by a hash.

    Raises:
        UserError: there is none.
    """
    if not answers.requests:
        raise UserError(
            "there are no requests to ask about",
            where=where,
            fix=advise_on_missing(dict(answers.inputs), "give it a step that makes prompts"),
        )

    def rank(prompt_id: str) -> tuple[int, str]:
        return derive_seed(answers.seed, "examined", prompt_id), prompt_id

    return sorted(answers.requests, key=rank)[:limit]
