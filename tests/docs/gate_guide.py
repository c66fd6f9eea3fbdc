"""What docs/gate.md has from elsewhere: the settings, and the figures of `make bench-gate`.

`python -m tests.docs.gate_guide` writes it anew.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.media.settings import MediaSettings

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "gate.md"
END = "<!-- end -->"


@dataclass(frozen=True, slots=True)
class GateAim:
    """What a figure must reach, and what is aimed at."""

    cell: str
    figure: str
    title: str
    least: Literal[">=", "<="]
    must: float
    aim: float


AIMS = (
    GateAim("main", "delivered_pct", "delivered, %", ">=", 99.9, 99.95),
    GateAim("main", "billed_ratio", "billed, × spoken", "<=", 1.22, 1.15),  # noqa: RUF001 - a multiple
    GateAim("main", "eot_p50", "end of turn p50, ms", "<=", 600, 500),
    GateAim("main", "eot_p95", "end of turn p95, ms", "<=", 900, 750),
    GateAim("main", "false_opens_per_min", "false opens a minute", "<=", 1, 0.5),
    GateAim("nospeech: noise only", "false_opens_per_min", "false opens a minute, noise alone", "<=", 3.5, 1),
    GateAim("quiet", "delivered_pct", "quiet talkers delivered, %", ">=", 99.5, 99.9),
    GateAim("hard: background", "billed_ratio", "background voices, billed, × spoken", "<=", 1.8, 1.5),  # noqa: RUF001
    GateAim("hard: SNR", "delivered_pct", "5 and 0 dB, delivered, %", ">=", 99.5, 99.9),
    GateAim("hard: SNR", "billed_ratio", "5 and 0 dB, billed, × spoken", "<=", 1.6, 1.4),  # noqa: RUF001
)
COLUMNS = (
    ("delivered_pct", "delivered, %"),
    ("billed_ratio", "billed, × spoken"),  # noqa: RUF001
    ("eot_p50", "end of turn p50, ms"),
    ("eot_p95", "p95, ms"),
    ("false_opens_per_min", "false opens a minute"),
)


def settings() -> str:
    """The settings of the gate with their defaults."""
    rows = ["| setting | default | what it trades |", "|---|---|---|"]
    for name, field in MediaSettings.model_fields.items():
        if name.startswith("vad"):
            text = " ".join((field.description or "").split())
            default = "" if field.default in ("", None) else f"{field.default}"
            rows.append(f"| `{MediaSettings.env_name(name)}` | {default} | {text} |")
    return "\n".join(rows) + "\n"


def figures() -> str:
    """The figures of the last run of the benchmark."""
    measured = json.loads((DOCS / "bench" / "gate.json").read_text())
    cpu, slot = (measured.get(name) for name in ("cpu_us_100_calls", "slot_ms_p99"))
    text = f"`make bench-gate` at `{measured['commit']}`, detector `{measured['detector']}`"
    if cpu is not None and slot is not None:
        text += (
            f":\n{cpu:.1f} µs of CPU a frame over 100 calls, interpreted; the 99th percentile of slots {slot:.1f} ms"
        )
    text += ".\n\n"
    report = measured["report"]
    if report is not None:
        text += "| on the recordings that the gate was tuned on | measured | must | aim |\n|---|---|---|---|\n"
        for aim in AIMS:
            value = next(found[aim.figure] for cell, found in report.items() if cell.strip().startswith(aim.cell))
            text += f"| {aim.title} | {_number(value)} | {aim.must:g} | {aim.aim:g} |\n"
        text += "\n"
    text += "| generated set | " + " | ".join(title for _, title in COLUMNS) + " |\n" + "|---" * 6 + "|\n"
    for cell, found in measured["generated"].items():
        text += f"| {cell} | " + " | ".join(_number(found[name]) for name, _ in COLUMNS) + " |\n"
    return text


def written(text: str) -> str:
    """Return the guide with what is computed in its places."""
    for name, part in (("settings", settings()), ("figures", figures())):
        begin = f"<!-- {name}: python -m tests.docs.gate_guide -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        text = f"{before}{begin}{part}{END}{after}"
    return text


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 150 else f"{value:.2f}"


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
