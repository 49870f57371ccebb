"""The stages, in the order in which data flows through them.

Adding a stage = its module + one line here. A stage is a module with a frozen dataclass `Config`, a
function `run(config, inputs, context)` and `STAGE = Stage(...)`, which says what the runner must
know: see stages/runtime/stage.py. A line reads `module`, or `module:NAME` where a module holds
several stages.
"""

# fmt: off
STAGES = {
    # a model that is already there, known by its content
    "model": "stages.text.model",
    "prompts": "stages.text.prompts",                   # files, datasets, transcripts -> Prompt
    # files, datasets -> Rating where there is a score, else Response
    "human_answers": "stages.text.human_answers",
    "respond": "stages.text.respond",                   # Prompt -> n Responses
    # Prompt -> n Responses that a search under principles finds
    "search_responses": "stages.text.search.search_responses",
    # Prompt -> new Prompts after their example, all different
    "write_prompts": "stages.text.synthesis.write_prompts",
    # Prompt -> Prompt: harder, or about another subject
    "rewrite_prompts": "stages.text.synthesis.rewrite_prompts",
    # Responses with thoughts that name rules -> the bare ones of those in good form
    "check_thoughts": "stages.text.synthesis.check_thoughts",
    # Response -> Response, with its thoughts in the text
    "with_thoughts": "stages.text.with_thoughts",
    # Response -> K Revisions (critique, then revise)
    "revise": "stages.text.revise",
    # a judge, prompts -> Question: can it tell, does it lean?
    "examine_judge": "stages.evaluation.instrument.examine_judge",
    # Prompt -> Proposal: the weighted criteria of each request
    "rubrics": "stages.preferences.rubrics.rubrics",
    # pairs of Responses x principles -> Judgement (the judge matrix)
    "judge": "stages.preferences.judging.judge",
    # Responses, Revisions -> Rating, by a judge
    "rate": "stages.preferences.judging.rate",
    # Responses, Revisions -> Rating, by the words that they hold
    "keyword_ratings": "stages.preferences.model_free.keyword_ratings",
    # Responses, Revisions -> Rating, by a linear classifier of their words
    "linear_ratings": "stages.preferences.model_free.linear_ratings",
    # Responses, Revisions -> Rating, by a function of yours
    "function_ratings": "stages.preferences.model_free.function_ratings",
    # Rating by value -> Rating: minus the distance to a target
    "target_ratings": "stages.values.target_ratings",
    # Rating by value -> Pair under profiles that are written as text
    "profile_pairs": "stages.values.profile_pairs",
    # Rating of arguments by value -> Responses that teach a target's values
    "value_texts": "stages.values.texts.value_texts",
    # Responses -> Rating, by a judge that sees all answers to a request at once
    "rank": "stages.preferences.rubrics.rank",
    # Revision -> Pair: the revision against the original
    "revision_pairs": "stages.preferences.revision_pairs",
    "judged_pairs": "stages.preferences.judged_pairs",  # Judgement -> Pair, soft or hard labels
    # Rating -> Pair, the best of each group against its worst
    "rated_pairs": "stages.preferences.rated_pairs",
    # Responses of ranked answerers -> Pair, without a judge
    "ranked_pairs": "stages.preferences.ranked_pairs",
    "human_pairs": "stages.preferences.human_pairs",    # files, datasets -> Pair, as people chose
    # Rating by rules, and by preference -> Rating
    "combine_ratings": "stages.preferences.combine_ratings",
    "best_of": "stages.preferences.best_of",            # Rating -> the best Responses of each group
    # rows -> fewer rows of the same kind, e.g. disjoint halves
    "filter": "stages.preferences.filter",
    # Pair, Responses -> Proposal: principles that a model writes
    "propose": "stages.discovery.propose",
    # Proposal -> Proposal: one for those that say nearly the same
    "cluster": "stages.discovery.cluster",
    # Judgement of what people chose -> Proposal: the principles that agree with them
    "choose_principles": "stages.discovery.choose_principles",
    # Proposal -> Proposal and a constitution file
    "write_constitution": "stages.discovery.write_constitution",
    # Prompt -> Proposal: the instructions of a system turn, found by a search
    "optimise_prompt": "stages.discovery.optimise_prompt",
    # Response, Rating -> the Responses that a judge finds faulty
    "failures": "stages.discovery.failures",
    # Pair, Judgement -> Proposal: the fewest principles with almost the same labels
    "minimal_constitution": "stages.discovery.minimal_constitution",
    "sft": "stages.training.offline.sft",                       # Responses, Revisions -> model
    "reward_model": "stages.training.reward_models.reward_model",     # Pair -> scalar model
    # Rating by rules -> classifier that reads a rule
    "rule_model": "stages.training.reward_models.rule_model",
    # Responses -> Rating, by a reward model
    "score": "stages.training.reward_models.score",
    "dpo": "stages.training.offline.dpo",                       # Pair -> model
    "kto": "stages.training.offline.kto",                       # Pair, Rating -> model
    # Rating, in groups -> model, by the loss of RRHF or of Stable Alignment
    "ranking": "stages.training.offline.ranking",
    # Pair -> model that is steered by a phrase
    "chain_of_hindsight": "stages.training.offline.chain_of_hindsight",
    # Prompt, a composed reward -> model; with costs: Safe RLHF
    "ppo": "stages.training.online.ppo",
    # Prompt, a composed reward -> model
    "grpo": "stages.training.online.trl_stages:GRPO",
    # Prompt, a composed reward -> model
    "rloo": "stages.training.online.trl_stages:RLOO",
    # Prompt, a composed reward -> model
    "online_dpo": "stages.training.online.trl_stages:ONLINE_DPO",
    # a training -> its model as it was at an earlier step
    "snapshot": "stages.training.snapshots.snapshot",
    # Responses of several models -> effects with intervals
    "evaluate": "stages.evaluation.evaluate",
    # Responses and models -> reward, violations, KL, length, time of each optimiser
    "compare_optimisers": "stages.evaluation.compare_optimisers",
    # Rating with people's labels, any other Rating -> F1 by principle, beside baselines
    "label_accuracy": "stages.evaluation.rewards.label_accuracy",
    # Rating by value of several policies -> distances to targets
    "value_distance": "stages.evaluation.values.value_distance",
    # reward models side by side: do they follow principles?
    "reward_accuracy": "stages.evaluation.rewards.reward_accuracy",
    # Responses to a benchmark's prompts -> rates by category
    "benchmark": "stages.evaluation.benchmarks.benchmark",
    # questions with options, models -> Answer, by group
    "multiple_choice": "stages.evaluation.benchmarks.multiple_choice",
    # questionnaires, models -> Answer: value profiles and whether they can be measured
    "survey": "stages.evaluation.surveys.survey",
    "dilemmas": "stages.evaluation.conflicts.dilemmas",
    "conflict_atlas": "stages.evaluation.conflicts.conflict_atlas",
    # Judgement -> do the ways to combine principles agree?
    "composition": "stages.evaluation.composition.composition",
    "value_profile": "stages.evaluation.values.value_profile",
    "violation_rates": "stages.evaluation.values.violation_rates",
    # models -> benchmarks of lm-evaluation-harness
    "harness": "stages.evaluation.benchmarks.harness",
    # human Pairs, judges -> agreement, flips, kappa
    "judge_quality": "stages.evaluation.judge_quality",
    # evaluations, Pairs -> a file for people to fill in; the filled file -> Label
    "label": "stages.report.exports.label",
    # Pairs, Judgements, evaluations -> the files of icai and inspect
    "export": "stages.report.exports.export",
    # a model and rows -> folders with cards; to the Hub if asked
    "publish": "stages.report.exports.publish",
    "report": "stages.report.report",               # everything -> one HTML page
}
# fmt: on
