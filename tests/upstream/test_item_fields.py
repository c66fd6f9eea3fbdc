"""Items reach the provider as they are, or are refused here by the path of their first wrong field."""

import pytest

from tests.contracts.items import ACCEPTED, CALL, TEXT, USER
from tests.upstream.drive import Drive, Json, object_of


@pytest.mark.parametrize("item", ACCEPTED)
def test_an_item_reaches_the_provider_with_all_its_fields(item: Json) -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item=item)
    sent = object_of(drive.sent("conversation.item.create"), "item")
    assert {**sent, "id": item.get("id")} == {**item, "id": item.get("id")}


@pytest.mark.parametrize("item", ACCEPTED)
def test_the_input_of_a_response_reaches_the_provider_with_all_its_fields(item: Json) -> None:
    drive = Drive().ready()
    reference: Json = {"type": "item_reference", "id": "item_1"}
    drive.client("response.create", response={"input": [item, reference]})
    assert object_of(drive.sent("response.create"), "response")["input"] == [item, reference]


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ({**USER, "content": [{**TEXT, "colour": "red"}]}, "item.content[0].colour", "unknown_parameter"),
        ({**CALL, "previous_item_id": "root"}, "item.previous_item_id", "unknown_parameter"),
        ({**USER, "role": "developer", "content": []}, "item.role", "invalid_value"),
    ],
)
def test_a_wrong_item_is_refused_as_a_whole(item: Json, param: str, code: str) -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item=item, event_id="mine")
    drive.client("response.create", response={"input": [{**USER, "content": [TEXT]}, item]}, event_id="mine")
    errors = [object_of(event.event, "error") for event in drive.named("error")]
    assert [error["param"] for error in errors] == [param, param.replace("item", "response.input[1]", 1)]
    assert {(error["code"], error["event_id"]) for error in errors} == {(code, "mine")}
    assert drive.sent_types == []


@pytest.mark.parametrize("item", [CALL, {"type": "function_call_output", "call_id": "call_1", "output": "rain"}])
def test_the_client_gets_the_call_id_that_it_chose(item: Json) -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item=item)
    sent = object_of(drive.sent("conversation.item.create"), "item")
    drive.provider("conversation.item.added", item=sent)
    drive.provider("conversation.item.done", item=sent)
    for kind in ("added", "done"):
        assert object_of(drive.one(f"conversation.item.{kind}"), "item")["call_id"] == "call_1"
    assert sent["call_id"] == "call_1"


@pytest.mark.parametrize(
    ("item", "param"),
    [({**USER, "content": [], "id": "root"}, "item.id"), ({**CALL, "call_id": "x" * 257}, "item.call_id")],
)
def test_an_id_that_cannot_be_used_is_refused(item: Json, param: str) -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item=item)
    assert (drive.error["code"], drive.error["param"]) == ("invalid_value", param)
    assert drive.sent_types == []
