"""Stage `optimise_prompt`: the search finds the instructions that the judge rewards."""

from dataclasses import dataclass

import numpy as np
import pytest

from stages.guards.errors import UserError
from stages.principles.retrieve import Retrieval
from stages.runtime.generation import Choice, Completion
from stages.runtime.rows import Proposal, Response
from stages.text.respond import Config as Answers
from stages.text.respond import identity as identity_of_answers
from tests.running import run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

WISHES = ("polite", "short", "sourced")


@dataclass
class Obedient(ScriptedGenerator):
    """Answers with what its instructions say, and is rated by how much of that the principles ask
    for. It proposes one thing that its answer lacks, or something useless.
    """

    useless: bool = False

    async def complete(self, messages, sampling, seed):
        self.completed.append((list(messages), sampling, seed))
        last = messages[-1]["content"]
        if "Which instruction is missing" in last:
            said = last.split("Response: ")[1].split("\n")[0]
            missing = [wish for wish in WISHES if wish not in said]
            wish = "blue" if self.useless or not missing else missing[seed % len(missing)]
            return Completion(f"1. The response is {wish}.", "stop", 1, 1)
        rules = messages[0]["content"] if messages[0]["role"] == "system" else ""
        kept = [wish for wish in (*WISHES, "blue") if wish in rules]
        return Completion(" ".join(["plain", *kept]), "stop", 1, 1)

    async def choose(self, messages, options):
        self.chosen.append((list(messages), list(options)))
        asked = messages[-1]["content"]
        said = asked.split("Response: ")[1].split("\n")[0]
        good = any(wish in said for wish in WISHES if wish in asked.split("Principle: ")[1])
        share = 0.9 if good else 0.1
        return Choice([float(np.log(share)), float(np.log(1 - share))], 1.0)


def optimised(folder, generator, prompts=30, **options):
    steps = text_pipeline(folder / "files", prompts=prompts)
    texts = [f"    text: The response is {wish} to request number 1" for wish in WISHES]
    lines = [f"  - id: {wish}\n{text}" for wish, text in zip(WISHES, texts, strict=True)]
    (folder / "files" / "wishes.yaml").write_text(
        "name: w\nprinciples:\n" + "\n".join(lines) + "\n"
    )
    models = {"model": "base", "writer": "base", "judge": "base"}
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    steps["instructions"] = {
        "stage": "optimise_prompt",
        "inputs": {"prompts": "requests", **models},
        "constitution": {"name": str(folder / "files" / "wishes.yaml")},
        "depth": 6,
        "batch": 3,
        **options,
    }
    steps["answers"] = {
        "stage": "respond",
        "inputs": {"prompts": "requests", "model": "base", "principles": "instructions"},
        "context": "principles",
    }
    return run_steps(steps, folder, generator)[1]


def test_the_best_instructions_are_found_and_read(tmp_path):
    generator = Obedient()
    done = optimised(tmp_path, generator)
    rows = done["instructions"].rows(Proposal)
    assert {row.text for row in rows} == {f"The response is {wish}." for wish in WISHES}
    ratings = done["instructions"].metrics["ratings"]
    assert ratings[0] == 0.1 and ratings == sorted(ratings) and len(ratings) == 7
    # What it found is the system turn of the answers, and of nothing that the rows learn.
    answers = done["answers"].rows(Response)
    assert {row.response for row in answers} == {"plain polite short sourced"}
    assert all(row.context == [one.id for one in rows] for row in answers)
    assert all(len(row.prompt) == 1 for row in answers)
    # Each request was asked once under each turn: every reward is of new requests.
    asked = [
        str(messages) for messages, sampling, _ in generator.completed if not sampling.temperature
    ]
    assert len(asked) == len(set(asked)) > 40


def test_a_rating_is_the_mean_along_the_way_recomputed(tmp_path):
    """No instruction: 0.1. One of three kept: (0.9 + 0.1 + 0.1) / 3, two 1.9 / 3, three 0.9."""
    metrics = optimised(tmp_path, Obedient(), beam=1)["instructions"].metrics
    one, two, three = 1.1 / 3, 1.9 / 3, 0.9
    batches = [0.1, one, two, three, three, three, three]
    means = [sum(batches[: n + 1]) / (n + 1) for n in range(7)]
    assert metrics["ratings"] == pytest.approx(means, abs=1e-6)


def test_what_does_not_help_is_not_kept(tmp_path):
    done = optimised(tmp_path, Obedient(useless=True))
    assert done["instructions"].rows(Proposal) == []
    assert {row.response for row in done["answers"].rows(Response)} == {"plain"}


def test_only_principles_that_apply_are_asked_about(tmp_path):
    generator = Obedient()
    optimised(tmp_path, generator, retrieve={"top": 1})
    answers = {str(asked[0]["content"]).split("Principle:")[0] for asked, _ in generator.chosen}
    assert len(answers) == len(generator.chosen), "one principle for each answer"
    with pytest.raises(UserError, match="no principle applies to any request"):
        optimised(tmp_path / "none", Obedient(), retrieve={"top": 1, "least": 1000})


def test_a_search_resumes_without_new_calls(tmp_path):
    first = optimised(tmp_path, Obedient())["instructions"].rows(Proposal)
    again = Obedient()
    assert optimised(tmp_path, again)["instructions"].rows(Proposal) == first and not again.calls


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"constitution": {"name": "world"}}, "both a constitution and"),
        ({"context": "none"}, "which the model does not read"),
    ],
)
def test_principles_of_two_sources_or_unread_ones_are_refused(tmp_path, answers, words):
    steps = text_pipeline(tmp_path, prompts=1)
    models = {"model": "base", "writer": "base", "judge": "base"}
    steps = {
        "base": steps["base"],
        "requests": steps["requests"],
        "instructions": {
            "stage": "optimise_prompt",
            "inputs": {"prompts": "requests", **models},
            "constitution": {"name": "world"},
        },
        "answers": {
            "stage": "respond",
            "inputs": {"prompts": "requests", "model": "base", "principles": "instructions"},
            "context": "principles",
            **answers,
        },
    }
    with pytest.raises(UserError, match=words):
        run_steps(steps, tmp_path, only_plan=True)


def test_what_changes_an_answer_under_proposals_is_a_part_of_its_identity():
    plain = identity_of_answers(Answers(context="principles"))
    for option in ({"draw": 2}, {"retrieve": Retrieval(top=1)}):
        assert identity_of_answers(Answers(context="principles", **option)) != plain
