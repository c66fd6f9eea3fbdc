"""The report of a call on a terminal."""

from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from services.callers.conversation import CallReport, Turn
from services.runtime.telemetry.redaction import escape_controls

_MILLION = 1_000_000


def show(account: CallReport, console: Console) -> None:
    """Print set-up, turns and bill."""
    console.print(Group(_head(account), *([_turns(account.turns)] if account.turns else []), _bill(account.usage)))


def _head(account: CallReport) -> Text:
    return _text(
        f"Call {account.call_id or '(unnamed)'} at {account.url}: token {account.token_ms:.0f} ms, "
        f"answer {account.answer_ms:.0f} ms, connected after {account.set_up_ms:.0f} ms"
    )


def _turns(turns: tuple[Turn, ...]) -> Table:
    table = Table(title="Turns", title_justify="left")
    for name in ("said", "understood", "answer"):
        table.add_column(name, overflow="fold")
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("answer", justify="right", no_wrap=True)
    for turn in turns:
        latency = "no sound" if turn.latency_ms is None else f"{turn.latency_ms:.0f} ms"
        words = (_text(turn.said), _text(turn.heard or "-"), _text(turn.answer or "-"))
        table.add_row(*words, latency, f"{turn.answer_s:.1f} s")
    return table


def _bill(usage: dict[str, Any] | None) -> Table | Text:
    if usage is None:
        return Text("This endpoint keeps no account of the call.")
    charged = "" if usage.get("charged", True) else " (not charged: an imitation of the provider's list price)"
    table = Table(
        caption_justify="left",
        title=_text(f"Bill: {usage.get('provider')} {usage.get('model')}{charged}"),
        title_justify="left",
    )
    table.add_column("meter", no_wrap=True)
    for name in ("quantity", "price", "cost"):
        table.add_column(name, justify="right")
    for line in usage.get("lines", ()):
        price = f"${line.get('price_usd')} per {_short(line.get('per', 1))}"
        cost = _usd(line.get("cost_nano_usd", 0))
        table.add_row(_text(line.get("meter")), f"{line.get('quantity'):,}", _text(price), cost)
    table.add_section()
    table.add_row("total", "", "", _text(f"${usage.get('cost_usd')}"))
    names = {"sent": "sent", "gated": "held back", "generated": "generated", "unheard": "not heard", "billed": "billed"}
    table.caption = _text(", ".join(f"{usage.get(f'{key}_seconds')} s {name}" for key, name in names.items()))
    return table


def _text(text: object) -> Text:
    """Text from an endpoint as plain text: no markup of rich's, no terminal escape sequences."""
    return Text(escape_controls(str(text)))


def _short(number: int) -> str:
    return "1M" if number == _MILLION else f"{number:,}"


def _usd(nano: int) -> str:
    return f"${nano / 1e9:.9f}"
