"""Chains as Markdown, in which no text of a model becomes markup."""

import json
import re

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event
from crucible_causaltrace.exports.wording import CAVEAT, SOURCE_NAMES, replace_unspeakable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#|&~$@:!=^+\"'/-])")
_FENCES = re.compile(r"`{3,}")


def to_markdown(chain: Chain) -> str:
    """Write a chain as GitHub-flavoured Markdown."""
    counts = chain.statistics().by_source
    said = ", ".join(f"{counts[source]} {SOURCE_NAMES[source]}" for source in counts) or "none"
    blocks = [
        f"# {inline(chain.task) or 'Trace'}",
        f"Chain {inline(chain.id)}. Events: {len(chain)} ({said}). {CAVEAT}",
    ]
    if chain.metadata:
        blocks.append(_fenced(json.dumps(dict(chain.metadata), indent=1), "json"))
    if chain.parse_report is not None and chain.parse_report.issues:
        issues = (
            f"- line {issue.line}: {inline(issue.code)}, {inline(issue.message)}"
            for issue in chain.parse_report.issues
        )
        blocks.append("## Issues of the text\n\n" + "\n".join(issues))
    if len(chain):
        blocks.append("## Events")
    blocks += [_event(event) for event in chain]
    if chain.text.strip():
        blocks.append("## Text outside events\n\n" + _fenced(chain.text.strip(), "text"))
    return "\n\n".join(blocks) + "\n"


def _event(event: Event) -> str:
    heading = f"### {event.order + 1}. {inline(event.type)} ({SOURCE_NAMES[event.source]})"
    parts = [heading]
    if event.decision is not None:
        parts.append(_stated("Decision", event.decision))
    if event.reasoning is not None:
        label = "Stated reason" if event.source == "self_report" else "Reason"
        parts.append(_stated(label, event.reasoning))
    facts: list[tuple[str, str | None]] = [("Id", event.id)]
    facts += [("Alternative", option) for option in event.alternatives]
    facts += [
        ("Disposition", event.disposition),
        ("Confidence", "not stated" if event.confidence is None else f"{event.confidence:g}"),
        ("Parent", event.parent),
        ("Depends on", ", ".join(event.depends_on) or None),
        ("Contradicts", ", ".join(event.contradicts) or None),
        ("Specification", event.spec_reference),
        ("Outcome", event.outcome),
        ("Duration", None if event.duration_s is None else f"{event.duration_s:g} s"),
        ("Stage", event.stage),
        ("Cut off", "the text ends inside this event" if event.truncated else None),
    ]
    parts.append("\n".join(f"- {name}: {inline(value)}" for name, value in facts if value))
    if event.code is not None:
        parts.append(_fenced(event.code, event.code_language or ""))
    if event.metadata:
        parts.append(_fenced(json.dumps(dict(event.metadata), indent=1), "json"))
    return "\n\n".join(parts)


def _stated(label: str, text: str) -> str:
    if "\n" in text.strip():
        return f"**{label}:**\n\n{_fenced(text, 'text')}"
    return f"**{label}:** {inline(text)}"


def inline(text: str) -> str:
    """Escape a text to stand within a line: nothing in it is markup, a link or an entity."""
    joined = " ".join(replace_unspeakable(text).split())
    return _MARKUP.sub(r"\\\1", joined).replace("www.", "www\\.")


def _fenced(text: str, language: str) -> str:
    """Put a text into a fence that is longer than any inside."""
    longest = max((len(run) for run in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    info = re.sub(r"[^A-Za-z0-9_+#.-]", "", language)
    return f"{fence}{info}\n{replace_unspeakable(text)}\n{fence}"
