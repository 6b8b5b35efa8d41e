"""The report as a LaTeX article for pdflatex, or as a fragment of a paper."""

from crucible_harness.report.model import (
    Block,
    Bullets,
    Chart,
    Code,
    Finding,
    Paragraph,
    Report,
    Table,
    Text,
)
from crucible_harness.report.values import to_plain

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "[": "{[}",  # at the start of a table's row it would be an option of the line break
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"''",
    "-": r"{-}",  # "--" would become a dash
    "`": r"\textasciigrave{}",
    "'": r"'",
    "\N{MINUS SIGN}": r"$-$",
    "∞": r"$\infty$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "²": r"\textsuperscript{2}",
    "·": r"$\cdot$",
    "°": r"\textdegree{}",
    "–": r"--",
    "—": r"---",
    "…": r"\ldots{}",
    "‘": r"`",
    "’": r"'",
    "“": r"``",
    "”": r"''",
    "ω": r"$\omega$",
    "η": r"$\eta$",
    "α": r"$\alpha$",
    "§": r"\S{}",
    "\N{NO-BREAK SPACE}": "~",
}
# Letters that the standard fonts of an article can set; pdflatex stops at any other.
_LETTERS = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"
    "ĂăĆćČčĎďĚěĞğİıŁłŃńŇňŐőŒœŔŕŘřŚśŞşŠšŤťŮůŰűŸŹźŻżŽž"
)
_FOOTNOTE = "Characters that the fonts of this document cannot set are printed as [U+...]."


def escape(text: str) -> str:
    """Return text that pdflatex prints as it is; unprintable characters become `[U+1F600]`."""
    return "".join(_letter(c) for c in " ".join(text.split()))


def render(report: Report, *, fragment: bool = False) -> str:
    """Return the report as LaTeX.

    Parameters
    ----------
    fragment : bool
        Leave out preamble, title and document environment; needs booktabs and graphicx.
    """
    body: list[str] = []
    for banner in report.banners:
        body += [rf"\begin{{quote}}\textbf{{{banner.level.capitalize()}:}} {_inline(banner.text)}",
                 r"\end{quote}", ""]  # fmt: skip
    for section in report.sections:
        body += [rf"\section*{{{escape(section.title)}}}", ""]
        for block in section.blocks:
            body += [*_block(block), ""]
    if any("{[}U+" in line for line in body):
        body += [rf"\footnotetext{{{escape(_FOOTNOTE)}}}", ""]
    if fragment:
        return "\n".join(body)
    head = [
        r"\documentclass[11pt]{article}",
        r"\usepackage{booktabs}",
        r"\usepackage{graphicx}",
        r"\usepackage[hidelinks]{hyperref}",
        r"\setlength{\textwidth}{6.5in}\setlength{\oddsidemargin}{0in}",
        r"\setlength{\textheight}{9in}\setlength{\topmargin}{-0.5in}",
        rf"\title{{{escape(report.title)}\\ \large {escape(report.subtitle)}}}",
        r"\author{}",
        r"\date{}",
        r"\begin{document}",
        r"\sloppy",
        r"\maketitle",
        "",
    ]
    return "\n".join([*head, *body, r"\end{document}", ""])


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph(kind="warning"):
            return [r"\begin{quote}", rf"\textbf{{Warning:}} {_inline(block.text)}", r"\end{quote}"]
        case Paragraph(kind="note"):
            return [rf"{{\small {_inline(block.text)}\par}}"]
        case Paragraph():
            return [_inline(block.text)]
        case Bullets():
            items = [rf"\item {_inline(item)}" for item in block.items]
            return [r"\begin{itemize}", *items, r"\end{itemize}"]
        case Code():
            lines = [rf"\texttt{{{escape(line)}}}" for line in block.text.splitlines()]
            return [r"\begin{flushleft}\small", " \\\\\n".join(lines), r"\end{flushleft}"]
        case Finding():
            return [
                rf"\paragraph{{{escape(block.id)}: {block.outcome}.}} {_inline(block.claim)}",
                "",
                _inline(block.sentence),
            ]
        case Table():
            return _table(block)
        case Chart():
            return [
                r"\begin{figure}[htbp]\centering",
                rf"\includegraphics[width=.85\textwidth]{{figures/{block.id}.pdf}}",
                rf"\caption*{{{escape(block.title)}}}".replace(
                    r"\caption*", r"\par\smallskip\small"
                ),
                r"\end{figure}",
            ]


def _table(table: Table) -> list[str]:
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    head = " & ".join(escape(column.title) for column in table.columns)
    rows = [" & ".join(_inline(cell) for cell in row) + r" \\" for row in table.rows]
    tabular = [
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if len(table.columns) > 5:
        tabular = [r"\resizebox{\textwidth}{!}{%", *tabular, "}"]
    note = [rf"\par\smallskip{{\footnotesize {_inline(table.note)}\par}}"] if table.note else []
    return [
        r"\begin{table}[htbp]\centering\small",
        rf"\textbf{{{escape(table.caption)}}}\par\medskip",
        *tabular,
        *note,
        r"\end{table}",
    ]


def _inline(text: Text) -> str:
    return escape(to_plain(text))


def _letter(character: str) -> str:
    if character in _COMMANDS:
        return _COMMANDS[character]
    if " " <= character <= "~" or character in _LETTERS:
        return character
    return f"{{[}}U+{ord(character):04X}]"
