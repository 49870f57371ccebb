"""Ablations: one command runs variants of a principle set and says what each principle did.

The room, in the order in which a sweep walks through it (`sweep` is Hydra's callback and calls the
others):

    before     levels (what a variant changes in a pipeline), jobs, forecast, power (what could be
    found) after      outcomes (what a job came to, by prompt), compare
    by what    differences, variance, corrections; shares (of labels); redundancy and matrix (of
    principles) to show    summary (the table), files (json, csv), report with view, tables and
    charts (the page)

Variants themselves are `principles/variants`: a principle set is a file, so they are known before
anything runs.
"""
