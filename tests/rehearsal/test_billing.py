from decimal import Decimal

from services.rehearsal.core.billing import SessionBill, price_nano
from services.rehearsal.core.items import TokenCount
from services.rehearsal.core.sound import loudest_dbfs
from services.rehearsal.core.usage import TokenUsage
from tests.rehearsal.driver import RehearsalEvent, SessionDriver, done_of, tone


def usage_of(events: list[RehearsalEvent]) -> RehearsalEvent:
    found: RehearsalEvent = done_of(events)["usage"]
    return found


def test_the_totals_of_a_response_add_up() -> None:
    client = SessionDriver(transcripts=["hello"])
    client.manual()
    client.configure(instructions="Be brief.")
    client.append(tone(1010))
    client.send("input_audio_buffer.commit")
    usage = usage_of(client.respond())
    given, made = usage["input_token_details"], usage["output_token_details"]
    assert given["audio_tokens"] == 11  # 10 tokens a second, begun ones count
    assert given["text_tokens"] == 3  # nine characters of instructions
    assert usage["input_tokens"] == given["audio_tokens"] + given["text_tokens"]
    assert usage["output_tokens"] == made["audio_tokens"] + made["text_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_the_whole_conversation_is_input_and_its_known_prefix_is_cached() -> None:
    client = SessionDriver()
    client.configure(instructions="Be brief.")
    first, second, third = (usage_of(client.say("hello")) for _ in range(3))
    assert first["input_token_details"]["cached_tokens"] == 0
    assert second["input_token_details"]["cached_tokens"] == first["input_tokens"]
    assert third["input_token_details"]["cached_tokens"] == second["input_tokens"]
    assert second["input_tokens"] == first["input_tokens"] + first["output_tokens"] + 2  # and the next "hello"


def test_a_change_at_the_beginning_breaks_the_cache() -> None:
    client = SessionDriver()
    client.say("hello")
    client.configure(instructions="Now be long.")
    assert usage_of(client.say("hello"))["input_token_details"]["cached_tokens"] == 0


def test_tools_are_input() -> None:
    client = SessionDriver()
    client.configure(tools=[{"type": "function", "name": "f", "description": "Do something."}])
    assert usage_of(client.say("hello"))["input_tokens"] > 20


def test_the_bill_prices_the_sums_of_the_session() -> None:
    book = SessionBill("sess_1", "gpt-realtime-2.1")
    usage = TokenUsage(given=TokenCount(100, 50, 11), cached=TokenCount(40, 30, 5), made=TokenCount(7, 90))
    book.responses = [("resp_1", "completed", usage), ("resp_2", "cancelled", usage)]
    assert book.totals() == {
        "text_in": 120,
        "text_in_cached": 80,
        "text_out": 14,
        "audio_in": 40,
        "audio_in_cached": 60,
        "audio_out": 180,
        "image_in": 12,
        "image_in_cached": 10,
    }
    assert (
        book.cost_nano_usd()
        == 120 * 4000 + 80 * 400 + 14 * 24_000 + 40 * 32_000 + 60 * 400 + 180 * 64_000 + 12 * 5000 + 10 * 500
    )


def test_prices_are_those_of_the_list() -> None:
    million = 1_000_000
    usd = {meter: Decimal(price_nano(meter, million)) / 10**9 for meter in SessionBill("s", "m").totals()}
    assert usd["audio_in"] == 32
    assert usd["audio_in_cached"] == usd["text_in_cached"] == Decimal("0.4")
    assert [usd[meter] for meter in ("audio_out", "text_in", "text_out")] == [64, 4, 24]


def test_the_bill_holds_what_was_sent_and_generated() -> None:
    client = SessionDriver(transcripts=["hello"])
    client.manual(transcription={})
    client.append(tone(500))
    client.send("input_audio_buffer.commit")
    client.respond()
    bill: RehearsalEvent = client.session.book.as_json()
    assert bill["audio_received_ms"] == 500
    assert bill["audio_generated_ms"] == sum(map(len, client.kept.values())) // 48
    (response,) = bill["responses"]
    assert response["status"] == "completed"
    assert [*client.kept] == response["item_ids"]
    assert len(bill["transcriptions"]) == 1
    assert bill["cost_nano_usd"] == client.session.book.cost_nano_usd()


def test_levels_are_in_dbfs() -> None:
    assert loudest_dbfs(b"") == loudest_dbfs(bytes(960)) == -120
    assert -18 < loudest_dbfs(tone(100)) < -16
    assert loudest_dbfs(bytes(960) + tone(20)) > -18
