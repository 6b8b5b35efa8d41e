"""Which values of a Python program come from which others, after Guo et al. (2021).

Walking the syntax tree with the last definitions of each name, every variable token yields one
entry: (name, "comesFrom" or "computedFrom", names it depends on). Entries of one token are merged,
tokens that nothing connects are dropped, and names become var_0, var_1, .. in order of appearance.
"""

from typing import Any

Edge = tuple[str, str, tuple[str, ...]]
States = dict[str, tuple[int, ...]]
_TEXTS = ("string", "string_literal")
_ASSIGNMENTS = ("assignment", "augmented_assignment", "for_in_clause")


def data_flow(tree: Any) -> list[Edge]:
    """Return the normalised entries of a syntax tree, in the order of their tokens."""
    walk = _Walk()
    try:
        walk.tokens(tree.root_node)
        walk.visit(tree.root_node, {})
    except RecursionError:  # nested deeper than any program is
        return []
    return walk.normalised()


class _Walk:
    def __init__(self) -> None:
        self.number: dict[tuple[int, int], int] = {}
        self.name: list[str] = []
        self.plain: list[bool] = []  # keywords and operators, which are no variables
        self.relation: dict[int, str] = {}
        self.parents: dict[int, set[int]] = {}

    def tokens(self, root: Any) -> None:
        """Give each token a number, in order."""
        stack = [root]
        while stack:
            node = stack.pop()
            if _is_token(node):
                text = node.text.decode("utf-8", "replace")
                self.number[node.start_byte, node.end_byte] = len(self.name)
                self.name.append(text)
                self.plain.append(node.type == text)
            else:
                stack += reversed(node.children)

    def visit(self, node: Any, states: States) -> States:
        """Note the entries of a node; return the definitions that hold after it."""
        if _is_token(node):
            return self._token(node, states)
        kind = node.type
        if kind == "default_parameter":
            name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            return self._assign([name], [value], self.visit(value, states), "comesFrom")
        if kind in _ASSIGNMENTS:
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if kind == "for_in_clause":
                right = node.children[-1]
            if left is None or right is None:  # a declaration without a value
                return states
            lefts, rights = ([left], [right]) if kind == "for_in_clause" else _paired(left, right)
            for one in rights:
                states = self.visit(one, states)
            return self._assign(lefts, rights, states, "computedFrom")
        if kind == "if_statement":
            return self._branches(node, states)
        if kind == "for_statement":
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            lefts, rights = _paired(left, right)
            for _ in range(2):  # the second time, what the body defined flows into it
                for one in rights:
                    states = self.visit(one, states)
                states = self._assign(lefts, rights, states, "computedFrom")
                if node.children[-1].type == "block":
                    states = self.visit(node.children[-1], states)
            return states
        for _ in range(2 if kind == "while_statement" else 1):
            # The loops of a comprehension define the names that stand before them.
            for child in sorted(node.children, key=lambda c: c.type != "for_in_clause"):
                states = self.visit(child, states)
        return states

    def _token(self, node: Any, states: States) -> States:
        place = self.number.get((node.start_byte, node.end_byte))
        if node.type == "comment" or place is None or self.plain[place]:
            return states
        name = self.name[place]
        self._note(place, "comesFrom", states.get(name, ()))
        if name not in states and node.type == "identifier":
            states = {**states, name: (place,)}
        return states

    def _assign(self, lefts: list[Any], rights: list[Any], states: States, how: str) -> States:
        states = dict(states)
        for left, right in zip(lefts, rights, strict=True):
            sources = self._variables(right)
            for place in self._variables(left):
                self._note(place, how, sources)
                states[self.name[place]] = (place,)
        return states

    def _branches(self, node: Any, states: States) -> States:
        """Merge the definitions of all branches; without an else, also of taking none."""
        main, ends, has_else = states, [], False
        for child in node.children:
            if child.type in ("elif_clause", "else_clause"):
                ends.append(self.visit(child, states))
            else:
                main = self.visit(child, main)
            has_else = has_else or "else" in child.type
        ends.append(main)
        if not has_else:
            ends.append(states)
        names = {name for end in ends for name in end}
        return {
            name: tuple(sorted({place for end in ends for place in end.get(name, ())}))
            for name in names
        }

    def _variables(self, node: Any) -> tuple[int, ...]:
        found, stack = [], [node]
        while stack:
            one = stack.pop()
            if not _is_token(one):
                stack += one.children
                continue
            place = self.number.get((one.start_byte, one.end_byte))
            if place is not None and one.type != "comment" and not self.plain[place]:
                found.append(place)
        return tuple(sorted(found))

    def _note(self, place: int, how: str, sources: tuple[int, ...]) -> None:
        self.relation[place] = how
        self.parents.setdefault(place, set()).update(sources)

    def normalised(self) -> list[Edge]:
        """Return the connected entries with names by order of appearance, parents first."""
        connected = {place for place, sources in self.parents.items() if sources}
        connected |= {source for sources in self.parents.values() for source in sources}
        renamed: dict[str, str] = {}
        edges = []
        for place in sorted(connected & self.parents.keys()):
            sources = list(dict.fromkeys(self.name[n] for n in sorted(self.parents[place])))
            for name in (*sources, self.name[place]):
                renamed.setdefault(name, f"var_{len(renamed)}")
            edges.append(
                (
                    renamed[self.name[place]],
                    self.relation[place],
                    tuple(renamed[n] for n in sources),
                )
            )
        return edges


def _is_token(node: Any) -> bool:
    return node.child_count == 0 or node.type in _TEXTS


def _paired(left: Any, right: Any) -> tuple[list[Any], list[Any]]:
    """Return the sides of an assignment target by target, or as wholes where they differ."""
    lefts = [node for node in left.children if node.type != ","]
    rights = [node for node in right.children if node.type != ","]
    if len(lefts) != len(rights) or not lefts:
        return [left], [right]
    return lefts, rights
