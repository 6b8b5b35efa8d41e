import json
from dataclasses import replace

import pytest

from crucible_causaltrace import Chain, Event, seal, verify
from crucible_causaltrace.seals import Seal, hash_chain

KEY = b"k" * 32
RECORDS = [
    {"id": "e1", "decision": "café", "confidence": 0.85},
    {"id": "e2", "alternatives": ["a", "b"]},
]


def chain_of(*decisions, **more):
    chain = Chain("t", id="c", **more)
    chain.extend(
        Event(
            id=f"e{d}", type="decision_made", source="self_report", decision=d, reasoning="\ud800é"
        )
        for d in decisions
    )
    return chain


def test_hashes_are_those_of_the_specification():
    h0, h1, h2 = hash_chain(RECORDS, header={})
    assert (h0[:8], h0[-6:]) == ("8fdc31df", "550ad5")
    assert (h1[:8], h1[-7:]) == ("0ddf229f", "68df860")
    assert (h2[:8], h2[-6:]) == ("0eb3d8ea", "4a365f")
    head = hash_chain(RECORDS, header={}, key=KEY)[-1]
    assert (head[:8], head[-7:]) == ("c5166db0", "0ee8612")


def test_an_untouched_chain_is_valid_after_storage_too():
    chain = chain_of("a", "b", metadata={"model": "m"})
    for key in (None, KEY):
        made = seal(chain, key=key)
        again = Seal.from_dict(json.loads(json.dumps(made.to_dict())))
        stored = Chain.from_dict(json.loads(json.dumps(chain.to_dict())))
        found = verify(stored, again, key=key)
        assert (found.valid, found.first_bad, found.reason) == (True, None, None)
        assert made.keyed == (key is not None)
        assert len(made.hashes) == 3


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    ("now", "first_bad"),
    [("xbcd", 1), ("abxd", 3), ("abcx", 4), ("acd", 2), ("abc", 4), ("", 1), ("bacd", 1), ("abdc", 3),
     ("abcde", 5)],
)  # fmt: skip
def test_what_was_changed_dropped_moved_or_added_is_located(now, first_bad, key):
    found = verify(chain_of(*now), seal(chain_of(*"abcd"), key=key), key=key)
    assert (found.valid, found.first_bad) == (False, first_bad)
    assert found.reason


def test_any_field_of_an_event_and_of_the_header_counts():
    made = seal(chain_of("a", "b"))
    chain = chain_of("a", "b")
    changed = Chain("t", id="c")
    changed.extend([chain["ea"], replace(chain["eb"], metadata={"x": None})])
    assert verify(changed, made).first_bad == 2
    assert verify(chain_of("a", "b", metadata={"x": 1}), made).first_bad == 0
    other = chain_of("a", "b")
    other.task = "another"
    assert verify(other, made).first_bad == 0


def test_a_wrong_a_missing_and_a_needless_key_are_told_at_once():
    chain = chain_of("a")
    keyed, plain = seal(chain, key=KEY), seal(chain)
    for made, key in ((keyed, b"other"), (keyed, None), (plain, KEY)):
        found = verify(chain, made, key=key)
        assert (found.valid, found.first_bad) == (False, 0)
    assert "with a key" in verify(chain, keyed).reason
    assert not verify(chain, replace(plain, head="0" * 64)).valid


def test_without_a_key_an_editor_can_make_a_new_seal_and_with_one_not():
    forged = chain_of("forged")
    assert verify(forged, seal(forged)).valid
    assert not verify(forged, replace(seal(forged), algorithm="hmac-sha256", keyed=True), key=KEY).valid  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [{}, {"algorithm": "md5", "keyed": False, "hashes": ["a"], "head": "a"},
     {"algorithm": "sha256", "keyed": True, "hashes": ["a"], "head": "a"},
     {"algorithm": "sha256", "keyed": False, "hashes": [], "head": "a"}],
)  # fmt: skip
def test_a_mapping_that_is_no_seal_is_refused(data):
    with pytest.raises(ValueError, match="`data`"):
        Seal.from_dict(data)


def test_a_key_is_never_empty_and_numbers_are_finite():
    with pytest.raises(ValueError, match="`key`"):
        seal(chain_of(), key=b"")
    with pytest.raises(ValueError, match="JSON"):
        seal(chain_of(metadata={"x": float("nan")}))
