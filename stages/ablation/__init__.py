"""Ablations: one command runs variants of a principle set and measures what each principle does.

The modules, in the order in which a sweep uses them:

    before     levels (what a variant changes in a pipeline), sweep_overrides (of each job),
               forecast with forecast_table (what would run, and which effects could be detected)
    after      jobs (what their folders hold), outcomes and labels (the results of a job, by
               prompt), runs (of each variant), compare, matrix (redundancy of principles, ratings)

`report/sweep` holds Hydra's callback, which calls these modules and shows their results: the table,
the files, the page. The arithmetic is in `statistics`: differences, shares (of labels),
equivalence, redundancy, power, ranking. The variants are defined in
`principles/variants`: a principle set is a file, so they are known before anything runs.
"""
