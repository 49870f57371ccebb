"""The stages, in the order in which data flows through them. Adding a stage = its module + one line here.

A stage is a module with
    VERSION     int: raise it when the same inputs would give other results
    NEEDS       names of the inputs it cannot do without;  ALSO_TAKES  the optional ones ("*": any)
    CALLS       whether it asks a generator (then the plan can forecast its calls);  TRAINS  whether it can run in several
                processes (optional);  READS_MODELS  whether inputs of any name are models to it (optional);  REUSE  False for a
                mere pointer that is made anew with every plan (optional)
    Config      a frozen dataclass of its options; `machine(...)` marks those that do not change the result
    run(config, inputs: dict[str, Artifact], context: Context) -> Result
    identity(config) -> dict    optional: what else identifies it (principle texts, template hashes, file contents)
"""

# fmt: off
STAGES = {
    "model": "stages.runtime.model_stage",              # a model that is already there, known by its content
    "prompts": "stages.text.prompts",                   # files, datasets, transcripts -> Prompt
    "respond": "stages.text.respond",                   # Prompt -> n Responses
    "revise": "stages.text.revise",                     # Response -> K Revisions (critique, then revise)
    "judge": "stages.preferences.judge",                # pairs of Responses x principles -> Judgement (the judge matrix)
    "rate": "stages.preferences.rate",                  # Responses, Revisions -> Rating, by a judge
    "revision_pairs": "stages.preferences.revision_pairs",  # Revision -> Pair: the revision against the original
    "judged_pairs": "stages.preferences.judged_pairs",  # Judgement -> Pair, soft or hard labels
    "rated_pairs": "stages.preferences.rated_pairs",    # Rating -> Pair, the best of each group against its worst
    "ranked_pairs": "stages.preferences.ranked_pairs",  # Responses of ranked answerers -> Pair, without a judge
    "human_pairs": "stages.preferences.human_pairs",    # files, datasets -> Pair, as people chose
    "best_of": "stages.preferences.best_of",            # Rating -> the best Responses of each group
    "filter": "stages.preferences.filter",              # rows -> fewer rows of the same kind, e.g. disjoint halves
    "sft": "stages.training.sft",                       # Responses, Revisions -> model
    "reward_model": "stages.training.reward_model",     # Pair -> scalar model
    "score": "stages.training.score",                   # Responses -> Rating, by a reward model
    "dpo": "stages.training.dpo",                       # Pair -> model
    "kto": "stages.training.kto",                       # Pair, Rating -> model
    "rrhf": "stages.training.rrhf",                     # Rating, in groups -> model
    "stable_alignment": "stages.training.stable_alignment",  # Rating, in groups -> model
    "chain_of_hindsight": "stages.training.chain_of_hindsight",  # Pair -> model that is steered by a phrase
    "ppo": "stages.training.ppo",                       # Prompt, a composed reward -> model; with costs: Safe RLHF
    "grpo": "stages.training.grpo",                     # Prompt, a composed reward -> model
    "rloo": "stages.training.rloo",                     # Prompt, a composed reward -> model
    "online_dpo": "stages.training.online_dpo",         # Prompt, a composed reward -> model
    "evaluate": "stages.evaluation.evaluate",           # Responses of several models -> effects with intervals
    "optimised": "stages.evaluation.optimised",         # Responses and models -> reward, violations, KL, time: what it bought
    "reward_accuracy": "stages.evaluation.reward_accuracy",  # reward models side by side: do they follow principles?
    "benchmark": "stages.evaluation.benchmark",         # Responses to a benchmark's prompts -> rates by category
    "multiple_choice": "stages.evaluation.multiple_choice",  # questions with options, models -> Answer, by group
    "harness": "stages.evaluation.harness",             # models -> benchmarks of lm-evaluation-harness
    "judge_quality": "stages.evaluation.judge_quality",  # human Pairs, judges -> agreement, flips, kappa
    "export": "stages.evaluation.export",               # Pairs, Judgements, evaluations -> the files of icai and inspect
    "publish": "stages.evaluation.publish",             # a model and rows -> folders with cards; to the Hub if asked
    "report": "stages.evaluation.report",               # everything -> one HTML page
}
# fmt: on
