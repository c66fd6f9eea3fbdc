import pytest

from services.contracts import ids, subjects


def test_a_call_id_is_safe_as_a_subject_token() -> None:
    made = ids.new_call_id()
    assert ids.call_id(made) == made
    assert subjects.call_of(subjects.up(ids.WorkerId("w-0"), ids.ProcessId("m-0"), made)) == made


@pytest.mark.parametrize(
    "text", ["", "rtc_", "rtc_" + "A" * 26, "rtc_" + "a" * 25 + ".", "rtc_" + "a" * 26 + "\n", "*"]
)
def test_what_is_no_call_id_is_refused(text: str) -> None:
    with pytest.raises(ids.InvalidIdError):
        ids.call_id(text)


@pytest.mark.parametrize("text", ["", "a.b", "a b", ">", "é", "a" * 64])
def test_what_is_no_process_id_is_refused(text: str) -> None:
    with pytest.raises(ids.InvalidIdError):
        ids.process_id(text)


@pytest.mark.parametrize("text", ["", "Acme", "-acme", "a.b", "*"])
def test_what_is_no_tenant_id_is_refused(text: str) -> None:
    with pytest.raises(ids.InvalidIdError):
        ids.tenant_id(text)


def test_valid_names_pass() -> None:
    assert ids.process_id("media-7f9c-0") == "media-7f9c-0"
    assert ids.tenant_id("acme_1") == "acme_1"


@pytest.mark.parametrize(
    ("make", "prefix"),
    [
        (ids.new_leg_id, "leg_"),
        (ids.new_session_id, "sess_"),
        (ids.new_item_id, "item_"),
        (ids.new_response_id, "resp_"),
        (ids.new_event_id, "event_"),
    ],
)
def test_ids_tell_their_kind_and_do_not_repeat(make: object, prefix: str) -> None:
    assert callable(make)
    made = {make() for _ in range(100)}
    assert len(made) == 100
    assert all(text.startswith(prefix) for text in made)
