"""Card: a policy published with the record of its making, and the check of that record.

`__main__` is the command. `facts` gathers what a run recorded, `effects` what was measured of the
policy, `record` is the file `credo_card.json`, `readme` the page for people, `folder` what is
uploaded. `verify` checks a folder by itself, `against_run` against the artifacts of the run,
`recompute` runs steps again on stored answers, and `resample` asks the model again.
"""
