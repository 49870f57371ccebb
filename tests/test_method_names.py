"""A method is a pipeline file: no stage knows its name."""

import ast
import io
import re
import tokenize
from pathlib import Path

from tests.embedded import ROOT

# Losses and a rule of labels: options by which any pipeline takes one, as in TRL.
ALGORITHMS = ("dpo", "ppo", "rrhf", "stable_alignment", "chain_of_hindsight", "salmon")
# Pipelines that are called after a stage, an option, or what they are about.
WORDS = (
    *("almost", "benchmarks", "in_context", "instructions", "judge_quality"),
    *("minimal_constitution", "optimise_prompt", "optimisers", "retrieve", "rubrics"),
    *("composition", "conflict_atlas", "dilemmas", "dynamic_prompts", "survey"),
    *("value_evaluator", "value_profiles"),
)
PIPELINES = [path.stem for path in (ROOT / "conf/pipeline").glob("*.yaml")]
PAPERS = ("constitutional_ai", "dromedary", "drpo", "icai", "opo", "spct", "wizardlm")
# Code for files in the form of a method's published ones, which are called after it.
FORMS = ("principles/importers", "sources/forms.py", "report/exports", "compare/logs")
NAMES = {*PIPELINES, *PAPERS} - {*ALGORITHMS, *WORDS}


def test_no_stage_knows_a_methods_name():
    patterns = "|".join(name.replace("_", "[ _-]?") for name in sorted(NAMES))
    named = re.compile(rf"(?<![a-z])({patterns})(?![a-z])", re.IGNORECASE)
    offences = []
    for path in sorted((ROOT / "stages").rglob("*.py")):
        if str(path.relative_to(ROOT / "stages")).startswith(FORMS):
            continue
        for number, text in code_of(path):
            if named.search(text):
                offences.append(f"{path.relative_to(ROOT)}:{number}: {text}")
    assert not offences, offences


def code_of(path: Path):
    """The names and texts in a module's code, with their lines: no comments, no docstrings."""
    source = path.read_text()
    documented = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented.update(range(node.lineno, node.end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT and token.start[0] not in documented:
            yield token.start[0], token.string
