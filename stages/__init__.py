"""The stages, in the order in which data flows through them. Adding a stage = its module + one line here.

A stage is a module with
    VERSION     int: raise it when the same inputs would give other results
    NEEDS       names of the inputs it cannot do without;  ALSO_TAKES  the optional ones ("*": any)
    CALLS       whether it asks a generator (then the plan can forecast its calls)
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
    "revision_pairs": "stages.preferences.revision_pairs",  # Revision -> Pair: the revision against the original
    "judged_pairs": "stages.preferences.judged_pairs",  # Judgement -> Pair, soft or hard labels
    "filter": "stages.preferences.filter",              # rows -> fewer rows of the same kind, e.g. disjoint halves
    "sft": "stages.training.sft",                       # Responses, Revisions -> model
    "reward_model": "stages.training.reward_model",     # Pair -> scalar model
    "score": "stages.training.score",                   # Responses -> Rating, by a reward model
    "dpo": "stages.training.dpo",                       # Pair -> model
    "ppo": "stages.training.ppo",                       # Prompt, a composed reward -> model; with costs: Safe RLHF
    "grpo": "stages.training.grpo",                     # Prompt, a composed reward -> model
    "rloo": "stages.training.rloo",                     # Prompt, a composed reward -> model
    "online_dpo": "stages.training.online_dpo",         # Prompt, a composed reward -> model
    "evaluate": "stages.evaluation.evaluate",           # Responses of several models -> effects with intervals
    "report": "stages.evaluation.report",               # everything -> one HTML page
}
# fmt: on
