"""Write constitutions/schema.json, with which editors complete and check principle sets.

`python -m stages.principles.schema`
"""

from __future__ import annotations

import json

from stages.principles.constitution import SHIPPED, Constitution


def schema_text() -> str:
    """Return the JSON schema of a constitution file, as the file's text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Constitution.model_json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (SHIPPED / "schema.json").write_text(schema_text(), encoding="utf-8")
