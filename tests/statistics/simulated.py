"""Simulated ablations whose truth is known: yes/no outcomes of a reference and its variants, over
seeds and prompts.
"""

import numpy as np

PROMPT_SD, CHANGE_SD = (
    1.5,
    0.7,
)  # on the logit scale: how prompts differ, and what each training changes about each of them


def ablation(rng, variants, seeds, prompts, base, seed_sd=0.0, shifts=()):
    """A (run, seed, prompt) array; run 0 is the reference. `seed_sd` (logits) moves whole runs,
    `shifts` the first variants.
    """
    runs = variants + 1
    moved = np.zeros(runs)
    moved[1 : 1 + len(shifts)] = shifts
    logits = (
        logit_of(base)
        + moved[:, None, None]
        + PROMPT_SD * rng.standard_normal(prompts)
        + CHANGE_SD * rng.standard_normal((runs, 1, prompts))
        + np.broadcast_to(seed_sd, runs)[:, None, None] * rng.standard_normal((runs, seeds, 1))
    )
    return (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)


def logit_of(base):
    return 1.3 * np.log(
        base / (1 - base)
    )  # with the spread of the prompts the share comes out near `base`


def truth(base, shift, seed_sd=0.0):
    """The effect of a shift over all prompts and seeds, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    sd = np.sqrt(PROMPT_SD**2 + CHANGE_SD**2 + seed_sd**2)
    before, after = (
        float(weights @ (1 / (1 + np.exp(-logit_of(base) - s - sd * nodes)))) for s in (0.0, shift)
    )
    return (after - before) / float(weights.sum())


def as_runs(cube):
    """The array as `effects` takes it: the reference, and the variants by name."""
    runs = [
        {f"s{s}": {f"p{p}": float(v) for p, v in enumerate(row)} for s, row in enumerate(run)}
        for run in cube
    ]
    return runs[0], {f"v{i}": run for i, run in enumerate(runs[1:], 1)}
