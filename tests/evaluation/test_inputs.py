"""What stages that compare models read of a policy's rows."""

from stages.evaluation.inputs import as_responses
from stages.runtime.rows import Response, Revision
from tests.running import run_steps, text_pipeline


def test_revisions_count_with_their_last_round_under_the_name_of_the_response(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3, rounds=2)
    steps = {name: steps[name] for name in ("base", "requests", "answers", "revisions")}
    _, done = run_steps(steps, tmp_path)
    answers, rows = done["answers"].rows(Response), done["revisions"].rows(Revision)
    assert as_responses(answers) == answers
    last = as_responses(rows)
    assert [(row.id, row.prompt_id, row.sample) for row in last] == [
        (row.id, row.prompt_id, row.sample) for row in answers
    ]
    by_id = {row.response_id: row for row in rows if row.round == 2}
    assert [row.response for row in last] == [by_id[row.id].response for row in last]
    assert all(len(row.context) == 2 and row.context[-1] == by_id[row.id].principle for row in last)
