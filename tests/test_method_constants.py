"""The constants of the methods: with the settings for real models each is the paper's, or a
departure that docs/methods.md tells; and what that page says of constants is what the files say.
"""

import importlib
import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import STAGES
from stages.runtime.pipeline.steps import join_sections, read_steps
from tests.test_configs import composed, names

DOCS = Path(__file__).resolve().parents[1] / "docs"
INDEX = (DOCS / "methods.md").read_text()
SECTIONS = {
    method: (page.stem, text)
    for page in sorted((DOCS / "methods").glob("*.md"))
    for method, text in re.findall(
        r"^## (\w+)\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    )
}
"""By method: the page in docs/methods/ that it stands on, and its section there."""
MEASURING = {"benchmarks", "composition", "conflict_atlas", "dilemmas", "dynamic_prompts"}
MEASURING |= {"in_context"}
MEASURING |= {"judge_quality", "survey"}
"""They measure models, and make none."""
METHODS = [name for name in names("pipeline") if name not in MEASURING]
REAL = ("model=hub", "model.path=owner/name", "tuning=full", "machine=one_gpu")
"""These settings bring scale=paper."""

PAPER: dict[str, dict[str, Any]] = {
    "cai": {  # Bai et al. 2022, 2212.08073
        "answers.sampling.temperature": 1.0,  # 3.2, T = 1 throughout
        "revisions.rounds": 4,  # 3.2
        "revisions.context": "collapse",  # 3.1
        "revisions.critique": True,  # 3.5: the main models criticise first
        "revisions.only_faulty": False,  # 3.1
        "helpful_answers.n": 2,  # 3.2
        "sl_cai.rounds": "all",  # 3.2
        "sl_cai.args.num_train_epochs": 1,  # 3.2
        "sl_cai.args.lr_scheduler_type": "constant",  # 3.2
        "sl_cai.args.gradient_accumulation_steps": 128,  # 3.2: 1024 sequences
        "samples.n": 2,  # 4.1
        "pairs.aggregate": "random",  # 4.1, one principle a comparison
        "pairs.label": "soft",  # 4.1
        "pairs.clamp": None,  # 4.1: only labels with a chain of thought
        "pairs.clip": None,
        "pairs.orders": "one order",  # 4.1 says nothing of a second one
    },
    "cai_ppo": {
        "rl_cai.args.beta": 0.001,  # Bai et al. 2022a, 2204.05862, 4.1; the CAI paper refers to it
    },
    "rlhf": {  # Ouyang et al. 2022, 2203.02155
        "policy.args.beta": 0.02,  # appendix C.4
        "sft.args.lr_scheduler_type": "cosine",  # 3.5
    },
    "cai_open": {  # llm-swarm and the handbook's recipe config_full.yaml
        "answers.sampling.temperature": 1.0,
        "answers.sampling.max_tokens": 1500,
        "revisions.rounds": 1,
        "revisions.context": "append",
        "sft_revisions.share": [0.0, 0.5],
        "sft.args.learning_rate": 2.0e-5,
        "sft.args.lr_scheduler_type": "cosine",
        "sft.args.warmup_steps": 0.1,
        "sft.args.num_train_epochs": 1,
        "sft.args.max_length": 2048,
        "sft.args.gradient_accumulation_steps": 32,  # 256 sequences: 8 x 4 x 8 GPUs
        "dpo.args.beta": 0.1,
        "dpo.args.learning_rate": 5.0e-7,
        "dpo.args.lr_scheduler_type": "linear",
        "dpo.args.warmup_steps": 0.1,
        "dpo.args.num_train_epochs": 3,
        "dpo.args.optim": "rmsprop",
        "dpo.args.max_length": 1024,
        "dpo.args.per_device_train_batch_size": 2,
        "dpo.args.gradient_accumulation_steps": 8,  # 2 x 8 GPUs x 1: 16 pairs
    },
    "dpo": {  # Rafailov et al. 2023, appendix B
        "policy.args.beta": 0.1,
        "policy.args.learning_rate": 1.0e-6,
        "policy.args.optim": "rmsprop",
        "policy.args.warmup_steps": 150,
        "policy.args.gradient_accumulation_steps": 32,  # 64 pairs
        "pairs.label": "hard",
    },
    "salmon": {  # Sun et al. 2023, 2310.05910, sections 3.2 and 3.3; IBM/SALMON
        "samples.n": 2,
        "samples.sampling.temperature": 0.7,
        "pairs.orders": "agree",
        "pairs.normalise": "variance",  # the code; "normalised" in 3.2
        "pairs.geometric": 0.2,
        "pairs.max_principles": 8,
        "pairs.negation": 0.5,
        "pairs.passes": 4,
        "pairs.label": "hard",
        "pairs.clip": None,
        "pairs.overrides": ["disclaimer", "script"],  # the second by fastText
        "pairs.noise": 0.1,
        "pairs.override_noise": 0.25,
        "principle_reward_model.args.learning_rate": 3.0e-5,
        "principle_reward_model.args.num_train_epochs": 1,
        "principle_reward_model.args.warmup_steps": 0.03,
        "policy.rewards.principles.draw": 3,
        "policy.rewards.principles.each": False,
        "policy.rewards.principles.boost": {"red_team": 128},
        "policy.rewards.length.weight": 5.0,
        "policy.rewards.length.cap": 0.8,
        "policy.rewards.length.per": 1024,
        "policy.rewards.length.factor": {"red_team": 0.0},
        "policy.rewards.finished.weight": 6.0,
        "policy.args.beta": 0.01,
        "policy.args.kl_estimator": "clamped",
        "policy.args.gamma": 1.0,
        "policy.args.lam": 1.0,
        "policy.args.epsilon": 0.2,
        "policy.args.value_clip": 0.2,
        "policy.args.value_coefficient": 0.1,
        "policy.args.num_iterations": 2,
        "policy.args.num_train_epochs": 2,
        "policy.args.temperature": 0.7,
        "policy.args.learning_rate": 2.0e-5,
        "policy.args.lr_scheduler_type": "cosine",
        "policy.args.max_grad_norm": 1.0,
    },
    "sparrow": {  # Glaese et al. 2022, 2209.14375
        "base_candidates.n": 8,
        "base_scores.rules": "geometric_mean",
        "policy.rewards.rules.weight": 1.0,
        "policy.rewards.rules.each": True,
        "policy.args.num_iterations": 1,  # advantage actor-critic
    },
    "palms": {  # Solaiman and Dennison 2021, 2106.10328
        "values_set.limit": 80,
        "policy.args.num_train_epochs": 2,
        "policy.args.per_device_train_batch_size": 2,
    },
    "basealign": {  # Yao et al. 2024, 2311.10766: its code, by others' account
        "policy.rewards.values.distance": "l1",
        "policy.rewards.values.mask": "published",
        "policy.rewards.values.threshold": 0.3,
        "policy.rewards.values.dim_weight": "abs_target",
        "policy.rewards.values.expression": 0.0,
        "policy.args.beta": 0.1,  # the start of an adaptive coefficient
        "policy.args.learning_rate": 1.0e-5,
        "policy.args.num_iterations": 2,  # epochs of PPO a rollout
    },
    "value_injection": {  # Kang et al. 2023, 2310.17857: its code, by others' account
        "texts.gamma": 3.0,
        "policy.args.learning_rate": 2.0e-5,
        "policy.args.lr_scheduler_type": "linear",
        "policy.args.num_train_epochs": 5,
    },
    "beavertails": {  # Ji et al. 2023, 2307.04657
        "harmless.rules": "min",  # harmless: in no category
    },
    "rlaif": {  # Lee et al. 2023, 2309.00267
        "pairs.orders": "swap_average",  # 3.1
        "pairs.label": "soft",  # 3.2
        "pairs.aggregate": "one preamble",  # 3.1
        "policy.args.beta": 0.05,
        "policy.args.temperature": 0.9,
    },
    "d_rlaif": {  # the same, 2.3
        "policy.rewards.rating.rescale": True,
        "policy.rewards.rating.scale": {number: number for number in range(1, 11)},
        "policy.args.beta": 0.05,
        "policy.args.temperature": 0.9,
    },
    "rubrics": {  # Gunjal et al. 2025, 2507.17746
        "policy.args.num_generations": 16,
        "policy.args.learning_rate": 5.0e-6,
    },
    "safe_rlhf": {  # Dai et al. 2023, 2310.12773, and scripts/ppo-lag.sh
        "policy.args.beta": 0.01,
        "policy.args.epsilon": 0.2,
        "policy.args.score_clip": 50.0,
        "policy.args.value_clip": 5.0,
        "policy.args.gamma": 1.0,
        "policy.args.lam": 0.95,
        "policy.args.num_iterations": 1,
        "policy.args.temperature": 1.0,
        "policy.args.lambda_init": 1.0,
        "policy.args.lambda_rate": 0.1,
        "policy.args.lambda_max": 5.0,
        "policy.args.cost_threshold": 0.0,
        "policy.args.cost_window": 128,
        "policy.args.cost_delay": 0,
        "policy.args.learning_rate": 1.0e-5,
    },
    "raft": {  # Dong et al. 2023, 2304.06767
        "candidates_1.n": 32,
        "candidates_1.sampling.temperature": 0.85,
        "policy.repeat": "until the reward is level",
        "tuned_1.args.learning_rate": 2.0e-5,
        "tuned_1.args.num_train_epochs": 2,
    },
    "rrhf": {  # Yuan et al. 2023, 2304.05302, and its script
        "policy.length_penalty": 1.0,
        "policy.weight": 1.0,
        "policy.args.learning_rate": 2.0e-5,
        "policy.args.num_train_epochs": 3,
        "policy.args.lr_scheduler_type": "cosine",
        "policy.args.per_device_train_batch_size": 1,
        "policy.args.gradient_accumulation_steps": 64,  # 8 x 8 GPUs
    },
    "optimise_prompt": {  # Singla et al. 2024, 2411.08733: its code, prompt_align/run.py and others
        "instructions.depth": 20,
        "instructions.batch": 1,
        "instructions.beam": 2,
        "instructions.actions": 3,
        "instructions.sampling.temperature": 0.0,
    },
    "rewind": {  # Li et al. 2023, 2309.07124: its code for HH, HH/main.py and HH/nodes.py
        "searched_held_out.search.sizes": [1, 2, 4, 10],
        "searched_held_out.search.draws": 10,
        "searched_held_out.search.most_draws": 20,
        "searched_held_out.search.least": 6,
        "searched_held_out.search.good": 0.8,
        "searched_held_out.search.most": 50,
        "searched_held_out.search.more": 15,
        "searched_held_out.search.exploration": 2.0,
        "searched_held_out.search.similar": 0.95,
        "searched_held_out.search.share": 0.2,
    },
    "stable_alignment": {  # Liu et al. 2023, 2305.16960, and its script
        "ratings.scale": {"Yes": 7, "No": 1},  # the ends of ratings from 1 to 7
        "policy.ratio": 0.2,
        "policy.margin": 10.0,
        "policy.scale": 7,
        "policy.limit": 3,
        "policy.max_flow": False,
        "policy.args.learning_rate": 2.0e-5,
        "policy.args.num_train_epochs": 7,
        "policy.args.per_device_train_batch_size": 1,
        "policy.args.gradient_accumulation_steps": 8,
        "policy.args.max_length": 360,
    },
    "chain_of_hindsight": {  # Liu et al. 2023, 2302.02676, and Liu et al. 2022, 2210.13432
        "policy.forget": 0.05,
        "policy.orders": "drawn",
    },
    "almost": {  # Kim et al. 2023, 2305.13735, sections 2 and 3
        "candidates.n": 4,
    },
    "iteralign": {  # Chen et al. 2024, 2403.18341, and its code
        "policy.repeat": "until no request is left",
        "chunk_1.limit": 20,
        "answers_1.sampling.temperature": 0.0,
        "proposals_1.together": True,
        "revised_1.critique": False,
        "revised_1.rounds": 1,
        "tuned_1.args.num_train_epochs": 3,
        "tuned_1.args.learning_rate": 2.0e-6,
        "tuned_1.args.lr_scheduler_type": "cosine",
    },
    "deliberative": {  # Guan et al. 2024, 2412.16339
        "spec_answers.context": "principles",
        "spec_answers.thoughts": "split",
    },
    "spec_midtraining": {  # Li et al. 2026, 2605.02087
        "texts.draw": 1,
    },
    "character_training": {  # Maiya et al. 2025, 2511.01689
        "teacher_answers.context": "principles",
        "teacher_answers.draw": None,
        "student_answers.context": "none",
    },
    "self_rewarding": {  # Yuan et al. 2024, 2401.10020, section 3.1
        "policy.repeat": 2,
        "candidates_1.n": 4,
        "candidates_1.sampling.temperature": 0.7,
        "tuned_1.args.beta": 0.1,
    },
    "optimisers": {  # GRPO: Shao et al. 2024, 2402.03300, 4.2
        "grpo.args.loss_type": "grpo",
        "grpo.args.beta": 0.04,
        "grpo.args.num_generations": 64,
        "grpo.args.epsilon": 0.2,
        "grpo.args.num_iterations": 1,
        "grpo.args.learning_rate": 1.0e-6,
        "grpo.args.scale_rewards": "group",
    },
    "self_align": {  # Sun et al. 2023, 2305.03047, and the branch dromedary_v1
        "principled_answers.draw": None,
        "principled_answers.sampling.temperature": 0.5,
        "principled_answers.sampling.max_tokens": 256,
        "bare_answers.cites": True,
        "bare_answers.cut_repeated": True,
        "engraved.args.num_train_epochs": 1,
        "engraved.args.learning_rate": 4.0e-4,
        "long_enough.least": 128,
    },
    "topic_guided": {  # the same
        "topics.examples": 5,
        "topics.number": 10,
        "topics.calls": 9,
        "topics.balance": True,
        "topics.filters.words": [1, 3],
        "topics.sampling.temperature": 1.0,
        "topics.sampling.top_p": 0.98,
        "questions.sampling.top_p": 0.95,
        "new_requests.examples": 5,
        "new_requests.max_similarity": 1.0,
    },
    "self_instruct": {  # Wang et al. 2023, 2212.10560, section 3.1, and its code
        "new_requests.examples": 8,
        "new_requests.machine": 2,
        "new_requests.number": 8,
        "new_requests.max_similarity": 0.7,
        "new_requests.filters.words": [4, 150],
        "new_requests.sampling.temperature": 0.7,
        "new_requests.sampling.top_p": 0.5,
        "new_requests.sampling.max_tokens": 1024,
    },
    "unnatural_instructions": {  # Honovich et al. 2023, 2212.09689, section 2
        "new_requests.examples": 3,
        "new_requests.machine": 0,
        "new_requests.number": 1,
        "new_requests.sampling.top_p": 0.99,
        "answers.sampling.temperature": 0.0,
    },
    "evol_instruct": {  # Xu et al. 2023, 2304.12244, section 3
        "evolution.repeat": 4,
        "evolved_1.answerable": True,
        "evolved_1.failed": "parent",
        "evolved_1.sampling.temperature": 1.0,
        "evolved_1.sampling.top_p": 0.9,
    },
}
"""What the papers and their code say, by the option that holds it here."""

DEPARTURES: dict[str, dict[str, Any]] = {
    "cai": {
        "sl_cai.args.lr_scheduler_type": "cosine",
        "sl_cai.args.gradient_accumulation_steps": 4,
        "pairs.orders": "agree",
    },
    "cai_open": {
        "answers.sampling.max_tokens": 512,
        "sft.args.gradient_accumulation_steps": 4,
    },
    "dpo": {
        "policy.args.learning_rate": 5.0e-7,
        "policy.args.optim": "adamw_torch_fused",
        "policy.args.warmup_steps": 0.1,
        "policy.args.gradient_accumulation_steps": 8,
        "pairs.label": "soft",
    },
    "salmon": {
        "principle_reward_model.args.learning_rate": 1.0e-5,
        "policy.rewards.principles.boost": {},
        "policy.rewards.length.per": 512,
        "policy.args.num_train_epochs": 1,
        "policy.args.learning_rate": 1.0e-6,
        "policy.args.lr_scheduler_type": "constant_with_warmup",
    },
    "rlaif": {"pairs.aggregate": "random"},
    "basealign": {
        "policy.rewards.values.mask": "none",
        "policy.args.learning_rate": 1.0e-6,
        "policy.args.num_iterations": 1,
    },
    "value_injection": {
        "policy.args.lr_scheduler_type": "cosine",
        "policy.args.num_train_epochs": 1,
    },
    "d_rlaif": {"policy.rewards.rating.scale": {"Yes": 10, "No": 1}},
    "rubrics": {"policy.args.num_generations": 8, "policy.args.learning_rate": 1.0e-6},
    "safe_rlhf": {"policy.args.learning_rate": 1.0e-6},
    "raft": {
        "candidates_1.n": 8,
        "candidates_1.sampling.temperature": 1.0,
        "policy.repeat": 3,
        "tuned_1.args.num_train_epochs": 1,
    },
    "self_rewarding": {"policy.repeat": 3, "candidates_1.sampling.temperature": 1.0},
    "rrhf": {"policy.args.gradient_accumulation_steps": 8},
    "optimise_prompt": {"instructions.batch": 4},
    "stable_alignment": {"policy.args.max_length": 2048},
    "self_align": {
        "principled_answers.sampling.max_tokens": 512,
        "engraved.args.learning_rate": 2.0e-5,
    },
    "chain_of_hindsight": {"policy.orders": "both"},
    "iteralign": {
        "policy.repeat": 10,
        "revised_1.rounds": 4,
        "tuned_1.args.num_train_epochs": 1,
        "tuned_1.args.learning_rate": 2.0e-5,
    },
    "optimisers": {
        "grpo.args.loss_type": "dapo",
        "grpo.args.beta": 0.01,
        "grpo.args.num_generations": 8,
    },
}
"""Where Credo's value for real models is another one; docs/methods.md says why."""


@cache
def settings(method: str, *overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pipeline's checked options by step, and its sections as they are written."""
    written = join_sections(composed(f"pipeline={method}", *overrides)["pipeline"])
    configs = {step.name: step.config for step in read_steps(written, STAGES)}
    return configs, written


def default_argument(trainer_options: str, name: str) -> Any:
    homes = {"PPOConfig": "stages.training.online.ppo_config"}
    module = importlib.import_module(homes.get(trainer_options, "trl"))
    field = {field.name: field for field in fields(getattr(module, trainer_options))}[name]
    return field.default if field.default is not MISSING else field.default_factory()


def value_of(path: str, method: str, *overrides: str) -> Any:
    """The value of an option: what a file says, else the default of the stage or its trainer."""
    configs, written = settings(method, *overrides)
    step, *keys = path.split(".")
    value = configs.get(step, written.get(step))
    if keys[0] == "args" and keys[1] not in value.args:
        return default_argument(value.trainer_options, keys[1])
    if keys[0] == "rewards":
        value, keys = value.reward_terms, keys[1:]
    for key in keys:
        value = getattr(value, key) if is_dataclass(value) else value[key]
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method in PAPER for path in PAPER[method]]
)
def test_a_constant_is_the_papers_or_a_departure(method, path):
    departures = DEPARTURES.get(method, {})
    assert path not in departures or departures[path] != PAPER[method][path], "no departure"
    expected = departures.get(path, PAPER[method][path])
    assert value_of(path, method, *REAL) == expected


def test_departures_are_of_constants_of_the_papers():
    for method, paths in DEPARTURES.items():
        assert paths.keys() <= PAPER[method].keys()


def test_scale_paper_needs_no_other_model():
    """What the settings for real models bring is the scale's, on the embedded model, too."""
    for path in ("pairs.noise", "pairs.override_noise", "pairs.overrides", "policy.args.beta"):
        assert value_of(path, "salmon", "scale=paper") == PAPER["salmon"][path]
    for path in ("policy.args.lam", "policy.args.kl_estimator", "policy.rewards.length.weight"):
        assert value_of(path, "salmon", "scale=paper") == PAPER["salmon"][path]
    assert value_of("helpful_answers.n", "cai", "scale=paper") == 2
    assert value_of("rl_cai.args.beta", "cai_ppo", "scale=paper") == 0.001
    assert value_of("policy.args.num_train_epochs", "stable_alignment", "scale=paper") == 7


@pytest.mark.parametrize(
    ("method", "override", "path"),
    [
        ("salmon", "model.ppo.lam=0.5", "policy.args.lam"),
        ("salmon", "scale.noise=0.5", "pairs.noise"),
        ("salmon", "model.sampling.max_tokens=0.5", "samples.sampling.max_tokens"),
        ("safe_rlhf", "model.ppo.beta=0.5", "policy.args.beta"),
        ("rlaif", "scale.kl.rlaif=0.5", "policy.args.beta"),
        ("stable_alignment", "model.groups.learning_rate=0.5", "policy.args.learning_rate"),
        ("cai_open", "model.dpo.beta=0.5", "dpo.args.beta"),
    ],
)
def test_the_command_line_wins(method, override, path):
    override = override.replace("max_tokens=0.5", "max_tokens=7")
    expected = 7 if "max_tokens" in override else 0.5
    assert value_of(path, method, *REAL, override) == expected


def test_a_variant_of_ones_own_keeps_the_constants(tmp_path):
    """A file that begins with `defaults: [salmon]` has them, and what it changes."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    (tmp_path / "pipeline").mkdir()
    text = "defaults: [salmon]\nsteps:\n  pairs: {passes: 1}\n"
    (tmp_path / "pipeline" / "mine.yaml").write_text(text)
    conf = Path(__file__).resolve().parents[1] / "conf"
    search = f"hydra.searchpath=[file://{tmp_path}]"
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("config", ["pipeline=mine", "scale=paper", search])
    steps = OmegaConf.to_container(config, resolve=True)["pipeline"]["steps"]
    assert steps["pairs"]["passes"] == 1 and steps["pairs"]["noise"] == 0.1
    assert steps["policy"]["args"]["lam"] == 1.0


# -- docs/methods.md and the pages of docs/methods/


def section(method: str) -> str:
    assert method in SECTIONS, f"no page in docs/methods/ has a section '## {method}'"
    return SECTIONS[method][1]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read(cell: str) -> Any:
    return yaml.safe_load(cell.replace("†", "").strip().strip("`"))


def constants(method: str) -> dict[str, list[str]]:
    """The rows of a section's table: the option, and the paper's, real models', tiny value."""
    lines = [line for line in section(method).splitlines() if line.startswith("| `")]
    return {cells(line)[0].strip("`"): cells(line)[1:] for line in lines}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_a_section_with_its_command_and_its_departures(method):
    text = section(method)
    assert f"`python run.py pipeline={method}" in text
    assert "**Learns.**" in text and "**Departures.**" in text
    told = text.partition("**Departures.**")[2]
    for path in DEPARTURES.get(method, {}):
        assert f"`{path}`" in told, f"{path}: no reason is given"


@pytest.mark.parametrize("method", METHODS)
def test_the_page_says_what_the_files_say(method):
    rows = constants(method)
    assert rows.keys() >= PAPER.get(method, {}).keys()
    for path, (paper, real, tiny) in rows.items():
        assert read(real) == value_of(path, method, *REAL), path
        assert read(tiny) == value_of(path, method), path
        if path in PAPER.get(method, {}):
            assert read(paper) == PAPER[method][path], path


def test_the_summary_has_every_method_and_says_none_only_where_it_is_true():
    summary = INDEX.partition("## Summary")[2].partition("\n## ")[0]
    rows = [cells(line) for line in summary.splitlines() if line.startswith("| [")]
    linked = [re.match(r"\[`(\w+)`\]\((methods/\w+\.md#\w+)\)", row[0]) for row in rows]
    targets = [f"methods/{SECTIONS[link[1]][0]}.md#{link[1]}" for link in linked]
    assert [link[2] for link in linked] == targets
    assert sorted(link[1] for link in linked) == METHODS
    for link, row in zip(linked, rows, strict=True):
        told = section(link[1]).partition("**Departures.**")[2].strip().split("\n\n")[0]
        assert any(letter.isalpha() for letter in row[-1])
        assert (row[-1].lower().rstrip(".") == "none") == (told.lower().rstrip(".") == "none")
