"""The report as GitHub Markdown; figures are files beside it."""

import re

from crucible_harness.report.model import (
    Block,
    Bullets,
    Chart,
    Code,
    Finding,
    Paragraph,
    Report,
    Section,
    Table,
    Text,
)
from crucible_harness.report.values import to_plain

# Characters that could open markup anywhere in a line. Model output is untrusted: a link, an
# image or a tag in an answer must stay text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    text = " ".join(text.split())
    text = _SPECIAL.sub(r"\\\1", text)
    # A number or sign at the start of a line would open a list; a bare address becomes a link.
    text = re.sub(r"^([+-]|\d+[.)])(?=\s)", r"\\\1", text)
    return re.sub(r"(?i)\b(https?|ftp)(?=:)|\b(www)(?=\.)", _break_link, text)


def render(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [f"# {escape(report.title)}", "", escape(report.subtitle), ""]
    for line in banner_lines(report):
        lines += [line, ""]
    for section in report.sections:
        lines += section_lines(section)
    return "\n".join(lines).rstrip() + "\n"


def banner_lines(report: Report) -> list[str]:
    """Return what a reader must know first, one quoted line each."""
    return [f"> **{b.level.capitalize()}:** {_inline(b.text)}" for b in report.banners]


def section_lines(section: Section) -> list[str]:
    """Return the lines of one section."""
    lines = [f"## {escape(section.title)}", ""]
    for block in section.blocks:
        lines += [*_block(block), ""]
    return lines


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph(kind="warning"):
            return [f"> **Warning:** {_inline(block.text)}"]
        case Paragraph():
            return [_inline(block.text)]
        case Bullets():
            return [f"- {_inline(item)}" for item in block.items]
        case Code():
            fence = "`" * max(3, _longest_run(block.text, "`") + 1)
            return [f"{fence}console", *block.text.splitlines(), fence]
        case Finding():
            return [
                f"**{escape(block.id)}: {block.outcome}.** {_inline(block.claim)}",
                "",
                _inline(block.sentence),
            ]
        case Table():
            return _table(block)
        case Chart():
            return [
                f"![{escape(block.alt)}](figures/{block.id}.svg)",
                "",
                f"*{escape(block.title)}*",
            ]


def _table(table: Table) -> list[str]:
    lines = [f"**{escape(table.caption)}**", ""]
    lines.append("| " + " | ".join(escape(column.title) for column in table.columns) + " |")
    lines.append(
        "|" + "|".join("--:" if column.numeric else ":--" for column in table.columns) + "|"
    )
    lines += ["| " + " | ".join(_inline(cell) for cell in row) + " |" for row in table.rows]
    if table.note:
        lines += ["", f"*{_inline(table.note)}*"]
    return lines


def _inline(text: Text) -> str:
    return escape(to_plain(text))


def _longest_run(text: str, character: str) -> int:
    return max((len(run) for run in re.findall(re.escape(character) + "+", text)), default=0)


def _break_link(match: re.Match[str]) -> str:
    # GitHub turns a bare address into a link whatever is escaped in it; an entity in the scheme
    # is shown as the letter it names and is not recognised.
    word = match.group()
    return f"&#{ord(word[0])};{word[1:]}"
