"""Small sets that this package made up, and says so: one for each kind of task."""

# ruff: noqa: E501 - one question per line

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crucible_datasets.items import Item

# Question, the right choice, three wrong ones, the place (0-3) of the right one, topic.
_CHOICES = (
    ("Which planet is closest to the Sun?", "Mercury", "Venus", "Mars", "Jupiter", 2, "space"),
    ("How many legs does a spider have?", "8", "6", "10", "12", 0, "nature"),
    ("What is the capital of Japan?", "Tokyo", "Kyoto", "Seoul", "Beijing", 1, "places"),
    ("Which gas do plants take up to grow?", "carbon dioxide", "helium", "neon", "argon", 3, "nature"),
    ("At sea level, water boils at how many degrees Celsius?", "100", "50", "80", "150", 2, "nature"),
    ("Which of these numbers is prime?", "17", "15", "21", "27", 1, "numbers"),
    ("What is the largest ocean?", "the Pacific", "the Atlantic", "the Indian Ocean", "the Arctic", 0, "places"),
    ("How many minutes are in two hours?", "120", "60", "100", "200", 3, "numbers"),
    ("Which animal is a mammal?", "a whale", "a shark", "a frog", "an eagle", 1, "nature"),
    ("What do bees make?", "honey", "milk", "silk", "wool", 0, "nature"),
    ("Which metal is liquid at room temperature?", "mercury", "iron", "gold", "copper", 2, "nature"),
    ("On which continent is Egypt?", "Africa", "Europe", "South America", "Oceania", 3, "places"),
    ("What is half of 90?", "45", "40", "50", "35", 1, "numbers"),
    ("Which month comes after June?", "July", "May", "August", "April", 0, "time"),
    ("How many sides does a hexagon have?", "6", "5", "7", "8", 3, "numbers"),
    ("What is the opposite of 'ancient'?", "modern", "old", "large", "quiet", 2, "words"),
    ("Which organ pumps blood?", "the heart", "the liver", "the lung", "the kidney", 1, "nature"),
    ("Which word is a verb?", "to run", "table", "green", "quickly", 0, "words"),
    ("What does the Earth orbit?", "the Sun", "the Moon", "Mars", "the Milky Way's edge", 3, "space"),
    ("How many days has a week?", "7", "5", "6", "10", 2, "time"),
)  # fmt: skip

# Claim, what is known, label.
_CLAIMS = (
    ("The bridge is older than the town hall.",
     "The bridge was built in 1820. The town hall was built in 1905.", "SUPPORTS"),
    ("Ana finished the race before Ben.",
     "Ben finished in 41 minutes. Ana needed 44 minutes.", "REFUTES"),
    ("The shop sells bread on Sundays.",
     "The shop is open from Monday to Saturday and closed on Sundays.", "REFUTES"),
    ("The lake is deeper than 30 metres.",
     "The lake is two kilometres long and popular with swimmers.", "NOT ENOUGH INFO"),
    ("All three samples contained iron.",
     "Iron was found in the first, the second and the third sample.", "SUPPORTS"),
    ("The museum was founded by a painter.",
     "The museum was founded in 1931.", "NOT ENOUGH INFO"),
    ("The train takes less than two hours.",
     "The train leaves at 9:10 and arrives at 10:40.", "SUPPORTS"),
    ("The recipe contains no eggs.",
     "For the recipe one needs flour, butter, two eggs and sugar.", "REFUTES"),
    ("More people live in Norden than in Suden.",
     "Norden has 12,000 inhabitants.", "NOT ENOUGH INFO"),
    ("The medicine shortened the illness.",
     "With the medicine the illness lasted four days, without it nine.", "SUPPORTS"),
    ("The library has two floors.",
     "The library has a ground floor only.", "REFUTES"),
    ("The author wrote the book in winter.",
     "The author wrote the book in a cabin near the sea.", "NOT ENOUGH INFO"),
)  # fmt: skip

# Entry point, prompt, canonical solution, body of `check(candidate)`.
_CODE = (
    ("double", 'def double(n):\n    """Return twice n."""\n', "    return 2 * n\n",
     "assert candidate(3) == 6\nassert candidate(0) == 0\nassert candidate(-4) == -8"),
    ("is_even", 'def is_even(n):\n    """Return True if n is even, else False."""\n',
     "    return n % 2 == 0\n",
     "assert candidate(4) is True\nassert candidate(7) is False\nassert candidate(0) is True"),
    ("largest", 'def largest(numbers):\n    """Return the largest of a list, None if it is empty."""\n',
     "    return max(numbers, default=None)\n",
     "assert candidate([3, 9, 2]) == 9\nassert candidate([-3, -1]) == -1\nassert candidate([]) is None"),
    ("reverse_words", 'def reverse_words(text):\n    """Return the words of text in reverse order, joined by one space."""\n',
     '    return " ".join(reversed(text.split()))\n',
     "assert candidate('a b c') == 'c b a'\nassert candidate(' one  two ') == 'two one'\nassert candidate('') == ''"),
    ("count_vowels", 'def count_vowels(text):\n    """Count the letters a, e, i, o, u in text, capital or not."""\n',
     '    return sum(letter in "aeiou" for letter in text.lower())\n',
     "assert candidate('Aloe') == 3\nassert candidate('xyz') == 0\nassert candidate('EEE') == 3"),
    ("factorial", 'def factorial(n):\n    """Return n! for n >= 0."""\n',
     "    result = 1\n    for k in range(2, n + 1):\n        result *= k\n    return result\n",
     "assert candidate(0) == 1\nassert candidate(5) == 120\nassert candidate(10) == 3628800"),
    ("unique", 'def unique(values):\n    """Return the values without repeats, in order of first appearance."""\n',
     "    return list(dict.fromkeys(values))\n",
     "assert candidate([3, 1, 3, 2, 1]) == [3, 1, 2]\nassert candidate([]) == []"),
    ("is_palindrome", 'def is_palindrome(text):\n    """Return whether text reads the same backwards, ignoring case and spaces."""\n',
     '    letters = text.lower().replace(" ", "")\n    return letters == letters[::-1]\n',
     "assert candidate('Never odd or even') is True\nassert candidate('crucible') is False\nassert candidate('') is True"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Demo:
    """The loader of a demo set; it reads no file."""

    name: str
    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield the items."""
        return {
            "demo-arithmetic": arithmetic, "demo-choice": choice, "demo-claims": claims,
            "demo-code": code,
        }[self.name]()  # fmt: skip


def arithmetic() -> Iterator[Item]:
    """Yield 81 sums and 81 differences of numbers up to 18."""
    for a in range(1, 10):
        for b in range(1, 10):
            yield Item(
                id=f"demo-arithmetic/sum-{a}-{b}",
                input=f"What is {a} + {b}? Answer with the number only.",
                expected=str(a + b),
                metadata={"operation": "sum"},
            )
    for a in range(1, 10):
        for b in range(1, 10):
            yield Item(
                id=f"demo-arithmetic/difference-{a}-{b}",
                input=f"What is {a + b} - {b}? Answer with the number only.",
                expected=str(a),
                metadata={"operation": "difference"},
            )


def choice() -> Iterator[Item]:
    """Yield 20 questions with four choices each; every letter is right five times."""
    for n, (question, right, *wrong, place, topic) in enumerate(_CHOICES):
        choices = [str(text) for text in wrong]
        choices.insert(int(place), right)
        yield Item(
            id=f"demo-choice/{n}", input=question, expected=place, choices=tuple(choices),
            metadata={"topic": topic},
        )  # fmt: skip


def claims() -> Iterator[Item]:
    """Yield 12 claims with what is known about them; every label is right four times."""
    for n, (claim, known, label) in enumerate(_CLAIMS):
        yield Item(id=f"demo-claims/{n}", input=claim, expected=label, context=known)


def code() -> Iterator[Item]:
    """Yield 8 functions to complete, with tests."""
    for entry_point, prompt, solution, body in _CODE:
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        yield Item(
            id=f"demo-code/{entry_point}",
            input=prompt,
            expected=solution,
            metadata={"entry_point": entry_point, "test": f"def check(candidate):\n{lines}"},
        )
