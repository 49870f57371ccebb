"""IterAlign's invariants (systems.md section 15, item 6), with a scripted generator."""

import json
import re
from dataclasses import replace

import pytest

from stages.principles.constitution import load
from stages.runtime.pipeline.loops import unroll_loops
from stages.runtime.rows import Prompt, Proposal, Response, Revision
from stages.runtime.stage import accept_any_here
from stages.training.offline import sft
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator
from tests.test_configs import composed_steps

RULE = "The response names no weapon"


def pipeline(folder, prompts, chunk):
    """The loop of the pipeline file, with files, up to the training."""
    folder.mkdir(exist_ok=True)
    rows = "".join(json.dumps({"prompt": text}) + "\n" for text in prompts)
    (folder / "prompts.jsonl").write_text(rows)
    (folder / "judged.yaml").write_text(
        "name: judged\nprinciples: [{id: calm, text: The response is calm., tags: [safe]}]\n"
    )
    steps = composed_steps(
        "pipeline=iteralign",
        "scale=paper",
        f"scale.iteralign.chunk={chunk}",
        "scale.iteralign.rounds=2",
        f"constitution.name={folder / 'judged.yaml'}",
        "pipeline.safe_tags=[safe]",
    )
    loop = steps["policy"]
    loop["steps"]["ratings"]["inputs"].pop("examination")
    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "judge": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "red_team": {"stage": "prompts", "source": str(folder / "prompts.jsonl")},
        "first_rules": steps["first_rules"],
        "policy": loop,
    }


def bad_on(word, speechless="none"):
    """Fails requests with a word; its rule names the chunk, so that each chunk has its own.

    About a chunk with the word `speechless` it writes no rule.
    """

    def text(messages):
        last = messages[-1]["content"]
        if last.startswith("These responses"):
            if speechless in last:
                return "They are bad."
            numbers = "-".join(re.findall(r"request (\d+)", last))
            return f"1. {RULE} for {numbers}.\n2. The response is polite."
        if "Rewrite" in last:
            return "calm words"
        return "a weapon" if word in last else "calm words"

    def scores(messages, options):
        bad = "weapon" in re.search(r"Response: (.*)", messages[-1]["content"])[1]
        return [-4.0, -0.02] if bad else [-0.02, -4.0]

    return ScriptedGenerator(text=text, scores=scores)


def run(folder, prompts, speechless="none"):
    """Two chunks of three; a trained model is a folder of its own.

    Returns:
        The artifacts, the generator, and the names of the steps that trained.
    """
    trained = []

    def run_training(config, inputs, context, build, dropped=()):
        trained.append(context.step)
        fake_model(context.directory / "model", context.step.encode())
        return sft.Result(metrics={"n": 1}, dropped=list(dropped))

    generator = bad_on("bad", speechless)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "run_training", run_training)
        patch.setattr(sft, "STAGE", replace(sft.STAGE, prepare=accept_any_here))  # imports TRL
        _, artifacts = run_steps(pipeline(folder, prompts, 3), folder, generator)
    return artifacts, generator, trained


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(tmp_path_factory.mktemp("iteralign"), [f"request {i} bad" for i in range(7)])


def test_each_round_has_its_chunk_and_asks_the_model_of_the_one_before(done):
    made, generator, trained = done
    chunks = [{row.id for row in made[f"chunk_{n}"].rows(Prompt)} for n in (1, 2)]
    assert len(chunks[0]) == len(chunks[1]) == 3 and not chunks[0] & chunks[1]
    assert len(made["rest_2"].rows(Prompt)) == 1
    assert trained == ["tuned_1", "tuned_2"]
    models = {made[name].model().content for name in ("base", "tuned_1", "tuned_2")}
    assert len(models) == 3
    assert {row.model for row in made["answers_1"].rows(Response)} == {made["base"].model().content}
    assert {row.model for row in made["answers_2"].rows(Response)} == {
        made["tuned_1"].model().content
    }
    asked = [m for m, _, _ in generator.completed if m[-1]["content"].startswith("These")]
    assert len(asked) == 2, "one proposal a chunk"


def test_rules_grow_by_a_file_a_round(done):
    made, _, _ = done
    files = [load(made[f"rules_{n}"].directory / "constitution.yaml") for n in (1, 2)]
    assert [file.version for file in files] == [1, 2]
    ids = [[principle.id for principle in file.principles] for file in files]
    assert len(ids[0]) == 2 and ids[1][:2] == ids[0] and len(ids[1]) == 3
    assert made["rules_2"].manifest.dropped == {"already written": 1}
    assert all(row.sources for row in made["rules_2"].rows(Proposal))


def test_revisions_read_the_rules_and_training_does_not(done):
    made, _, _ = done
    requests = [row.revision_request for row in made["revised_1"].rows(Revision)]
    assert requests and all(RULE in text or "polite" in text for text in requests)
    examples, _ = sft.read_examples({"revised": made["revised_1"]}, "last")
    assert len(examples) == 3
    assert RULE not in str(examples) and "polite" not in str(examples)
    assert all(example["completion"][0]["content"] == "calm words" for example in examples)


def test_a_chunk_without_a_failure_leaves_the_model_as_it_is(tmp_path):
    prompts = [f"request {i} {'good' if i < 3 else 'bad'}" for i in range(6)]
    made, _, trained = run(tmp_path, prompts)
    kinds = [len(made[f"failures_{n}"].rows(Response)) for n in (1, 2)]
    assert kinds == [0, 3]
    assert made["tuned_1"].model() == made["base"].model()
    assert made["tuned_1"].metrics["n"] == 0 and trained == ["tuned_2"]


def test_no_failure_at_all_trains_nothing(tmp_path):
    made, generator, trained = run(tmp_path, [f"request {i}" for i in range(6)])
    assert trained == [] and made["tuned_2"].model() == made["base"].model()
    assert not any(m[-1]["content"].startswith("These") for m, _, _ in generator.completed)
    for number in (1, 2):
        assert made[f"rules_{number}"].rows(Proposal) == []
        assert made[f"revised_{number}"].rows(Revision) == []


@pytest.mark.parametrize("speechless", ["request 1", "request 4", "request"])
def test_a_round_without_a_rule_leaves_the_model_as_it_is(tmp_path, speechless):
    """A model that writes no list of rules about a chunk ends no run, and is warned of."""
    made, _, trained = run(tmp_path, [f"request {i} bad" for i in range(6)], speechless)
    silent = [n for n, last in ((1, "request 1"), (2, "request 4")) if speechless in last]
    assert trained == [f"tuned_{n}" for n in (1, 2) if n not in silent]
    for number in silent:
        assert made[f"revised_{number}"].manifest.dropped == {"there is no principle": 3}
        assert "no principle in the answer" in made[f"proposals_{number}"].manifest.warnings[0]
    written = [len(made[f"rules_{n}"].rows(Proposal)) for n in (1, 2)]
    assert written == {"request 1": [0, 2], "request 4": [2, 2], "request": [0, 0]}[speechless]


def test_the_pipeline_carries_model_requests_and_rules():
    steps = unroll_loops(composed_steps("pipeline=iteralign"))
    assert steps["policy_held_out"]["inputs"]["model"] == "tuned_3"
    assert steps["answers_2"]["inputs"] == {"prompts": "chunk_2", "model": "tuned_1"}
    assert steps["chunk_3"]["inputs"] == {"rows": "rest_2"}
    assert steps["rules_3"]["inputs"] == {"before": "rules_2", "new": "proposals_3"}
    assert steps["revised_2"]["inputs"]["principles"] == "proposals_2"
    steps = unroll_loops(composed_steps("pipeline=iteralign", "pipeline.revise_under=rules"))
    assert steps["revised_2"]["inputs"]["principles"] == "rules_2"
