"""Writes what the reference takes from the program: the table of settings, and the JSON schemas.

    .venv/bin/python docs/make_reference.py

A test compares them with what this would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dispatcher.config.settings import SETTINGS  # noqa: E402
from dispatcher.insight.file_list import FileListDocument  # noqa: E402
from dispatcher.reporters.run_document import RunDocument  # noqa: E402
from passmuster.settings.setting import Group, Setting  # noqa: E402 - needs the path above

PAGE = HERE / "reference" / "settings.md"
SCHEMAS: dict[Path, type[Struct]] = {
    HERE / "reference" / "run_document.schema.json": RunDocument,
    HERE / "reference" / "file_list.schema.json": FileListDocument,
}
BEGIN = "<!-- settings: made by docs/make_reference.py, do not edit -->"
END = "<!-- end of settings -->"


def settings_tables() -> str:
    """Return one table of Markdown for each heading of the help text."""
    parts: list[str] = []
    for group in Group:
        rows = [_row(setting) for setting in SETTINGS if setting.group is group]
        head = ["| setting | arguments | variables | file | default |", "| --- | --- | --- | --- | --- |"]
        parts.append("\n".join([f"### {group.value.partition(' (')[0]}", "", *head, *rows]))
    return "\n\n".join([*parts, _former_names()])


def _former_names() -> str:
    """Return a table of the names that work with a note until the next version."""
    rows = [
        f"| {_code(former)} | {_code(present)} |"
        for setting in SETTINGS
        for former, present in setting.renamed.items()
    ]
    note = "These names of settings still work, with a note, until the next version."
    return "\n".join(["### Former names", "", note, "", "| former | now |", "| --- | --- |", *rows])


def page_with_tables(page: str) -> str:
    """Return the page with the tables between its two marks replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{settings_tables()}\n\n{END}{after}"


def schema_of(document: type[Struct]) -> str:
    """Return the JSON schema of a document."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(document)}
    return json.dumps(schema, indent=2) + "\n"


def _row(setting: Setting) -> str:
    options = dict.fromkeys(setting.options, setting.type.value_usage)
    words = [word + options.get(word, "") for word in setting.arguments]
    if setting.name == "paths":
        words = ["PATH..."]
    cells = [
        f"**{setting.name}**: {setting.summary}",
        ", ".join(map(_code, words)) or "none",
        ", ".join(map(_code, setting.variables)) or "none",
        _code(setting.name) if setting.in_file else "no",
        setting.default_text,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for path, document in SCHEMAS.items():
        path.write_text(schema_of(document), encoding="utf-8")
