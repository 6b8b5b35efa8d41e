"""Colour code at render time: the page itself knows no language."""

_LONGEST = 20_000
# What the page can tell apart, in the order of its numbers; 0 is plain.
KINDS = ("plain", "keyword", "string", "comment", "number", "name", "operator")


def tokens_of(code: str, language: str | None) -> list[int] | None:
    """Return kind, length, kind, length, ... of the code; None for plain text.

    Lengths count UTF-16 units, as the page's language does.
    """
    if language is None or not code or len(code) > _LONGEST:
        return None
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    runs: list[int] = []
    total = ""
    for token, text in lexer.get_tokens(code):
        kind = _kind(str(token))
        total += text
        if runs and runs[-2] == kind:
            runs[-1] += _units(text)
        else:
            runs += [kind, _units(text)]
    # A lexer that rewrites what it reads (line ends, tabs) cannot say where its tokens are.
    return runs if total == code else None


def _kind(token: str) -> int:
    for prefix, kind in (
        ("Token.Keyword", 1),
        ("Token.Literal.String", 2),
        ("Token.Comment", 3),
        ("Token.Literal.Number", 4),
        ("Token.Name.Function", 5),
        ("Token.Name.Class", 5),
        ("Token.Name.Builtin", 5),
        ("Token.Name.Decorator", 5),
        ("Token.Operator", 6),
    ):
        if token.startswith(prefix):
            return kind
    return 0


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)
