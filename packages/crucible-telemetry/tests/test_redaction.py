import doctest

import pytest

from crucible_telemetry import MemoryStore, SQLiteStore, redaction, start_experiment
from crucible_telemetry.errors import RedactionWarning
from crucible_telemetry.redaction import DropRedactor, HmacRedactor
from crucible_telemetry.testing import check_redactor


def test_an_identifier_becomes_its_keyed_hash():
    redactor = HmacRedactor(["user"], salt=bytes(32))
    found = redactor.redact({"user": "user@example.com", "other": "user@example.com"})
    # specification, section 7, test 16
    assert found == {"user": "6bc739d87d2ddc0b17f7b728e827fd91", "other": "user@example.com"}
    again = HmacRedactor(["user"], salt=b"another salt, longer")
    assert again.redact({"user": "user@example.com"}) != found


def test_hashes_and_drops_reach_into_nested_values():
    nested = {"a": [{"user": 7, "http.url": "x"}], "user": None}
    hashed = HmacRedactor(["user"], salt=bytes(16)).redact(nested)
    assert len(hashed["a"][0]["user"]) == 32
    assert hashed["user"] is None
    assert DropRedactor(["http.*", "us?r"]).redact(nested) == {"a": [{}]}
    assert nested == {"a": [{"user": 7, "http.url": "x"}], "user": None}


def test_our_redactors_keep_what_is_promised():
    check_redactor(lambda: HmacRedactor(["user"], salt=bytes(32)))
    check_redactor(lambda: DropRedactor(["secret*"]))


def test_redactors_that_break_a_promise_are_found_out():
    class Raises:
        def redact(self, attributes):
            return {key: value.upper() for key, value in attributes.items()}

    class Nothing:
        def redact(self, attributes):
            attributes.clear()

    class Drifts:
        def __init__(self):
            self.calls = 0

        def redact(self, attributes):
            self.calls += 1
            return {**attributes, "calls": self.calls}

    class Unstorable:
        def redact(self, attributes):
            return {**attributes, "x": object()}

    for broken in (Raises, Nothing, Drifts, Unstorable):
        with pytest.raises(AssertionError, match="not kept: "):
            check_redactor(broken)


def test_what_is_redacted_is_nowhere_in_the_file(tmp_path, tracer):
    path = tmp_path / "r.sqlite"
    redactor = HmacRedactor(["enduser.id"], salt=b"0123456789abcdef")
    with (
        SQLiteStore(path) as store,
        start_experiment(name="r", store=store, redactor=redactor) as experiment,
    ):
        with tracer.start_as_current_span(
            "span", attributes={"enduser.id": "someone@home"}
        ) as span:
            span.add_event("seen", {"enduser.id": "someone@home"})
        experiment.record("event", **{"enduser.id": "someone@home"})
        hashes = {event.attributes["enduser.id"] for event in experiment.events()}
        record = experiment.stop()
    assert len(hashes) == 1
    assert record.redactor == "HmacRedactor(['enduser.id'])"
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"someone@home" not in raw
    assert b"0123456789abcdef" not in raw


@pytest.mark.parametrize("wrong", [None, "raises"])
def test_a_redactor_that_fails_leaks_nothing_and_is_counted(wrong, caplog):
    class Fails:
        def redact(self, attributes):
            if wrong == "raises":
                raise KeyError(attributes["secret"])
            return wrong

    store = MemoryStore()
    experiment = start_experiment(name="f", store=store, redactor=Fails(), capture_spans=False)
    for n in range(3):
        experiment.record("event", model="m", secret="hunter2", n=n, bad=float("nan"))
    experiment.record("without attributes")
    experiment.flush()
    with pytest.warns(RedactionWarning, match="failed on 3 events"):
        record = experiment.stop()
    events = list(experiment.events())
    assert [event.attributes for event in events] == [{}] * 4
    assert [event.altered for event in events] == [("*",)] * 3 + [None]
    assert events[0].model == "m"
    assert record.stats.redaction_failures == 3
    assert "hunter2" not in caplog.text
    assert caplog.text.count("the redactor failed") == 1


def test_what_a_redactor_returns_is_made_storable():
    class Adds:
        def redact(self, attributes):
            return {"n": float("inf")}

    with start_experiment(
        name="a", store=MemoryStore(), redactor=Adds(), capture_spans=False
    ) as experiment:
        experiment.record("event", gone=float("nan"))
        (event,) = experiment.events()
    assert event.attributes == {"n": "Infinity"}
    assert event.altered == ("n",)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: HmacRedactor("user", salt=bytes(32)), "`keys` must be a collection of names"),
        (lambda: HmacRedactor([], salt=bytes(32)), "`keys` must be a collection of names"),
        (lambda: HmacRedactor(["user"], salt=b"short secret"), "`salt` must be at least 16 bytes"),
        (lambda: DropRedactor([1]), "`patterns` must be a collection"),
        (
            lambda: start_experiment(name="x", store=MemoryStore(), redactor=print),
            "`redactor` must have a method",
        ),
    ],
)
def test_bad_arguments(build, match):
    with pytest.raises(ValueError, match=match) as caught:
        build()
    assert "short secret" not in str(caught.value)


def test_the_examples_run():
    result = doctest.testmod(redaction)
    assert result.attempted > 0
    assert result.failed == 0
