"""Bars as SVG, for light and for dark pages."""

from __future__ import annotations

import statistics
from html import escape

_STYLE = """
text { font: 13px sans-serif; fill: #24292f } .ours { fill: #1f6feb } .by_hand { fill: #8c959f }
.framework { fill: #bf8700 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #58a6ff } .by_hand { fill: #6e7681 }
.framework { fill: #d29922 } }
"""
_NAMES = {"natsconnector": "ours", "by_hand": "by_hand", "framework": "framework"}
_SHOWN = {"natsconnector": "natsconnector", "by_hand": "nats-py + aiohttp + uvloop", "framework": "FastStream"}


def bars(results: dict[str, dict[str, dict[str, list[float]]]]) -> dict[str, str]:
    """A picture of the calls a second, and one of the CPU time of a call, by scenario."""
    return {
        name: _picture(title, figure, results)
        for name, title, figure in (
            ("calls", "Calls a second (more is better)", "calls/s"),
            ("cpu", "Microseconds of CPU for a call (less is better)", "us CPU"),
        )
    }


def _picture(title: str, figure: str, results: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    rows: list[tuple[str, str, float]] = []
    for scenario, contestants in results.items():
        for name, figures in contestants.items():
            if figure in figures:
                rows.append((scenario, name, statistics.median(figures[figure])))
    longest = max((value for _, _, value in rows), default=1.0)
    parts, y, before = [], 44, ""
    for scenario, name, value in rows:
        if scenario != before:
            y += 10
            parts.append(f'<text x="10" y="{y + 13}">{escape(scenario)}</text>')
            before = scenario
        width = max(2.0, value / longest * 330)
        parts.append(f'<rect class="{_NAMES[name]}" x="170" y="{y}" width="{width:.1f}" height="16" rx="2"/>')
        parts.append(f'<text x="{176 + width:.1f}" y="{y + 13}">{value:,.0f}</text>')
        y += 20
    for position, name in enumerate(_SHOWN):
        x = 10 + position * 210
        parts.append(f'<rect class="{_NAMES[name]}" x="{x}" y="{y + 14}" width="12" height="12" rx="2"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 25}">{escape(_SHOWN[name])}</text>')
    height = y + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}" width="640" height="{height}" role="img"'
        f' aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<text x="10" y="24" font-weight="bold">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )
