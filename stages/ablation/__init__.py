"""Ablations: one command runs variants of a principle set and says what each principle did.

The room, in the order in which a sweep walks through it:

    before     levels (what a variant changes in a pipeline), overrides (of each job), forecast with
               forecast_table (what would run, and what could be found)
    after      jobs (what their folders hold), outcomes and labels (what a job came to, by prompt),
               runs (of each variant), compare, matrix (redundancy of principles, ratings)

`report/sweep` is Hydra's callback, which calls the others, and shows what they found: the table,
the files, the page. The arithmetic is in `statistics`: differences, shares (of labels),
equivalence, redundancy, power, ranking. Variants themselves are `principles/variants`: a principle
set is a file, so they are known before anything runs.
"""
