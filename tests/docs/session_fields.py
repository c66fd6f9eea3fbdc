"""Write the tables of docs/clients.md about session fields and locks: `python -m tests.docs.session_fields`."""

from collections.abc import Iterator
from pathlib import Path

from services.contracts.session.locks import LOCKS, Lock
from services.contracts.session.registry import ITEM_FIELDS, RESPONSE_FIELDS, SESSION_FIELDS, FieldEntry

GUIDE = Path(__file__).parents[2] / "docs" / "clients.md"
NOTHING = "-"
BY = {"gateway": "here", "provider": "by the provider", "refused": "refused"}


def field_table(entries: tuple[FieldEntry, ...]) -> list[str]:
    """Return a table with a line for each field."""
    root = entries[0].path.partition(".")[0]
    rows = [f"| `{entry.path.removeprefix(f'{root}.')}` | {BY[entry.by]} | {entry.effect} |" for entry in entries]
    return [f"| field of the {root} | honoured | |", "|---|---|---|", *rows]


def lock_table() -> list[str]:
    """Return a table with a line for each lock: what it closes in each client event that can have its effect."""
    events = "| lock | `session.update`, and the offer's session | `response.create` | items |"
    return [events, "|---|---|---|---|", *(_lock_row(name, lock) for name, lock in LOCKS.items())]


def _lock_row(name: str, lock: Lock) -> str:
    paths = (", ".join(f"`{path}`" for path in closed) or NOTHING for closed in (lock.session, lock.response))
    return f"| {' | '.join([f'`{name}`', *paths, ', '.join(_items(lock)) or NOTHING])} |"


def _items(lock: Lock) -> Iterator[str]:
    if lock.instructing_items:
        yield "messages of any role but `user` and `assistant`"
    if lock.tool_items:
        yield "`mcp_list_tools`, `mcp_call`, `mcp_approval_request`"


def written(text: str) -> str:
    """Return the guide's ``text`` with its tables as they must be."""
    for table in (field_table(SESSION_FIELDS), field_table(RESPONSE_FIELDS), field_table(ITEM_FIELDS), lock_table()):
        begin = text.index(table[0])
        end = text.index("\n\n", begin)
        text = text[:begin] + "\n".join(table) + text[end:]
    return text


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
