import pytest

from crucible_causaltrace import build_causal_prompt, parse


def test_the_prompt_is_the_same_every_time():
    assert build_causal_prompt("What is 6 x 7?") == build_causal_prompt("What is 6 x 7?")


def test_the_prompt_holds_what_was_asked_for():
    prompt = build_causal_prompt(
        "What is 6 x 7?",
        instructions="Be brief.",
        types=("decision_made", "vendor:probe"),
        final_answer="ANSWER =",
    )
    assert prompt.endswith("Be brief.\n\nTask: What is 6 x 7?")
    assert '"ANSWER ="' in prompt
    assert "- decision_made: you choose\n- vendor:probe\n" in prompt
    assert "synthesis" not in prompt


def test_without_an_example_there_is_no_event_in_it():
    report = parse(build_causal_prompt("t", example=False))
    assert [issue.code for issue in report.issues] == ["no_events"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task": " "}, "`task` must not be blank"),
        ({"types": ["made_up"]}, "made_up"),
        ({"types": []}, "`types`"),
        ({"types": "decision_made"}, "`types`"),
        ({"final_answer": ""}, "`final_answer`"),
    ],
)
def test_a_prompt_that_asks_for_nothing_known_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        build_causal_prompt(**({"task": "t"} | more))
