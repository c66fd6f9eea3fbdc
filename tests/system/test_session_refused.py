"""A provider that refuses the session: the call ends, and the client reads why on its channel and over HTTP."""

from services.callers.caller import Caller
from tests.system.gateway import Up

TIMEOUT_S = 20.0
REFUSED = "Be kind. rehearsal faults: psychedelic."


async def test_a_call_whose_instructions_are_refused_ends_with_a_reason_that_the_client_reads(up: Up) -> None:
    session = {"type": "realtime", "instructions": REFUSED}
    async with Caller.call(up.url, up.tenant_key, session=session, events=("gate",)) as caller:
        error = (await caller.next_event("error", timeout_s=TIMEOUT_S)).event["error"]
        ended = await caller.next_event("hushgate.ended", timeout_s=TIMEOUT_S)
        bill = await caller.bill(timeout_s=TIMEOUT_S)
    assert (error["code"], error["param"]) == ("session_refused", "session.instructions")
    assert bill is not None
    assert (ended.event["reason"], bill["ended_reason"]) == ("provider_refused", "provider_refused")
    assert not caller.events.of("session.created")


async def test_a_call_whose_voice_is_refused_has_its_instructions_and_says_so(up: Up) -> None:
    session = {"type": "realtime", "instructions": 'Say "apple".', "audio": {"output": {"voice": "nobody"}}}
    async with Caller.call(up.url, up.tenant_key, session=session) as caller:
        shown = (await caller.next_event("session.created", timeout_s=TIMEOUT_S)).event["session"]
        error = (await caller.next_event("error", timeout_s=TIMEOUT_S)).event["error"]
        assert error["param"] == "session.audio.output.voice"
        assert (shown["instructions"], shown["audio"]["output"]["voice"]) == ('Say "apple".', "marin")
        caller.send_event({"type": "response.create"})
        done = (await caller.next_event("response.done", timeout_s=TIMEOUT_S)).event["response"]
        assert done["output"][0]["content"][0]["transcript"] == "apple"
        await caller.hang_up()


async def test_an_update_that_the_provider_refuses_changes_nothing(up: Up) -> None:
    session = {"type": "realtime", "instructions": 'Say "apple".'}
    async with Caller.call(up.url, up.tenant_key, session=session) as caller:
        await caller.next_event("session.created", timeout_s=TIMEOUT_S)
        update = {"type": "realtime", "instructions": REFUSED, "tool_choice": "none"}
        caller.send_event({"type": "session.update", "event_id": "mine", "session": update})
        error = (await caller.next_event("error", timeout_s=TIMEOUT_S)).event["error"]
        assert error["event_id"] == "mine"
        caller.send_event({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 500}})
        updated = (await caller.next_event("session.updated", timeout_s=TIMEOUT_S)).event["session"]
        assert (updated["instructions"], updated["tool_choice"]) == ('Say "apple".', "auto")
        caller.send_event({"type": "response.create"})
        done = (await caller.next_event("response.done", timeout_s=TIMEOUT_S)).event["response"]
        assert done["output"][0]["content"][0]["transcript"] == "apple"
        await caller.hang_up()
