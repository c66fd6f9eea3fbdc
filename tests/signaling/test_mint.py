from collections.abc import Callable

import pytest
from pydantic import JsonValue

from services.contracts.grant import Grant, Limits, MinuteLimits
from services.contracts.ids import TenantId
from services.contracts.session.locks import LockedFieldError
from services.contracts.session.parse import InvalidSessionError
from services.contracts.turn_detection import TurnTerms
from services.signaling.core.mint import InvalidMintError, grant, placed, read, redeemed, refuse_needless_limits
from services.signaling.core.tenants import Tenant

TENANT = Tenant(
    id=TenantId("acme"),
    session={"instructions": "a", "model": "tenants-model"},
    limits=Limits(max_seconds=600, responses_per_min=10),
)


def granted(body: dict[str, JsonValue]) -> Grant:
    return grant(TENANT, read(body), default_model="default-model")


def test_what_is_not_asked_for_comes_from_the_tenant() -> None:
    assert granted({}) == Grant(
        tenant=TenantId("acme"),
        session={"type": "realtime", "model": "tenants-model", "instructions": "a"},
        limits=TENANT.limits,
        locked=("model",),
    )


def test_what_is_asked_for_goes_over_the_tenants_defaults() -> None:
    made = granted(
        {"session": {"model": "m"}, "hushgate": {"max_seconds": 5, "input_tokens_per_min": 9, "events": ["usage"]}}
    )
    assert made.session["model"] == "m"
    assert made.limits == Limits(max_seconds=5, responses_per_min=10, input_tokens_per_min=9)
    assert made.events == ("usage",)


def test_a_tenant_may_have_no_answers_before_the_end_of_a_turn() -> None:
    thrifty = TENANT.model_copy(update={"eager": False})
    made = grant(thrifty, read({}), default_model="default-model")
    assert not made.eager
    assert not placed(made, MinuteLimits()).eager
    assert granted({}).eager


def test_a_tenant_without_a_model_gets_the_gateways_which_the_offer_may_change() -> None:
    sealed = grant(Tenant(id=TenantId("b")), read({"hushgate": {"locked": ["tools"]}}), default_model="d")
    assert (sealed.session, sealed.locked) == ({"type": "realtime", "model": "d"}, ("tools",))
    assert redeemed(sealed, {"model": "m"}).session["model"] == "m"
    assert redeemed(sealed, {"instructions": "a"}).session["model"] == "d"


def test_a_model_that_is_named_holds_and_the_refusal_names_it() -> None:
    sealed = grant(Tenant(id=TenantId("b")), read({"session": {"model": "m"}}), default_model="d")
    assert redeemed(sealed, {"model": "m"}).session["model"] == "m"
    for named, model in ((sealed, "m"), (granted({}), "tenants-model")):
        with pytest.raises(LockedFieldError, match=f"session.model cannot be changed: it is for the model '{model}'"):
            redeemed(named, {"model": "d"})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"hushgate": {"max_seconds": 601}}, "hushgate.max_seconds"),
        ({"hushgate": {"max_seconds": 0}}, "hushgate.max_seconds"),
        ({"hushgate": {"responses_per_min": 11}}, "hushgate.responses_per_min"),
        ({"hushgate": {"responses_per_min": 0}}, "hushgate.responses_per_min"),
        ({"hushgate": {"audio_seconds_per_min": 1.5}}, "hushgate.audio_seconds_per_min"),
        ({"hushgate": {"input_tokens_per_min": "1"}}, "hushgate.input_tokens_per_min"),
        ({"hushgate": {"requests_per_min": 1}}, "hushgate.requests_per_min"),
        ({"hushgate": {"max_seconds": "60"}}, "hushgate.max_seconds"),
        ({"hushgate": {"max_cost_usd": "2.51"}}, "hushgate.max_cost_usd"),
        ({"hushgate": {"max_cost_usd": None}}, "hushgate.max_cost_usd"),
        ({"sessions": {}}, "sessions"),
        ({"expires_after": {"second": 60}}, "expires_after.second"),
        ({"hushgate": {"locked": ["instruction"]}}, "hushgate.locked"),
        ({"hushgate": {"events": ["gates"]}}, "hushgate.events.0"),
        ({"hushgate": {"lock": []}}, "hushgate.lock"),
        ({"expires_after": {"anchor": "last_used_at"}}, "expires_after.anchor"),
        ({"session": []}, "session"),
        ({"hushgate": {"locked": ["audio.output.voice"]}}, "hushgate.locked"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(body: dict[str, JsonValue], param: str) -> None:
    with pytest.raises(InvalidMintError) as refused:
        granted(body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "body", [{"foo": 1}, {"hushgate": {"lock": []}}, {"expires_after": {"anchor": "created_at", "second": 60}}]
)
def test_a_field_that_does_not_exist_is_unknown(body: dict[str, JsonValue]) -> None:
    with pytest.raises(InvalidMintError) as refused:
        granted(body)
    assert refused.value.code == "unknown_parameter"


@pytest.mark.parametrize("name", MinuteLimits.model_fields)
def test_a_limit_above_that_of_all_calls_together_would_do_nothing(name: str) -> None:
    together = MinuteLimits.model_validate({name: 100})
    asked = read({"hushgate": {name: 101}})
    refuse_needless_limits(asked, MinuteLimits())
    refuse_needless_limits(read({"hushgate": {name: 100}}), together)
    refuse_needless_limits(read({}), together)
    with pytest.raises(InvalidMintError, match="at most 100 for this tenant") as refused:
        refuse_needless_limits(asked, together)
    assert refused.value.param == f"hushgate.{name}"


def test_a_limit_of_money_is_refused_with_what_bounds_a_call_instead() -> None:
    with pytest.raises(InvalidMintError, match="not enforced yet: leave max_cost_usd out and bound calls by max_sec"):
        granted({"hushgate": {"max_cost_usd": "2.50"}})


def test_an_error_without_a_path_is_only_its_words() -> None:
    assert str(InvalidMintError("", "no")) == "no"


def test_the_holder_of_a_token_without_a_session_gets_what_was_sealed() -> None:
    sealed = granted({})
    assert redeemed(sealed, None) is sealed


def test_the_holder_of_a_token_changes_only_what_is_not_locked() -> None:
    sealed = granted({"hushgate": {"locked": ["instructions"]}})
    assert redeemed(sealed, {"tools": []}).session["tools"] == []
    for locked in ({"model": "m"}, {"instructions": "b"}, {"hushgate": {"max_seconds": 9}}):
        with pytest.raises(LockedFieldError):
            redeemed(sealed, dict[str, JsonValue](locked))  # type: ignore[arg-type]
    with pytest.raises(InvalidSessionError):
        redeemed(sealed, {"tools": 1})


def server_vad(**turns: JsonValue) -> dict[str, JsonValue]:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", **turns}}}}


OUT_OF_BOUNDS = [("silence_duration_ms", 99), ("silence_duration_ms", 10_001), ("prefix_padding_ms", 2001)]
ALLOWED: list[JsonValue] = [
    None,
    {"type": "server_vad", "silence_duration_ms": 100, "prefix_padding_ms": 2000},
    {"type": "server_vad", "silence_duration_ms": 10_000, "prefix_padding_ms": None},
    {"type": "semantic_vad", "eagerness": "low"},
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_BOUNDS)
def test_turn_detection_that_media_does_not_allow_is_refused(name: str, value: int) -> None:
    param, session = f"session.audio.input.turn_detection.{name}", server_vad(**{name: value})
    before = grant(TENANT, read({"session": session}), default_model="d")
    plain = granted({})
    tenant = TENANT.model_copy(update={"session": session})
    attempts: list[Callable[[], Grant]] = [
        lambda: grant(TENANT, read({"session": session}), default_model="d", turn_terms=TurnTerms()),
        lambda: grant(tenant, read({}), default_model="d", turn_terms=TurnTerms()),
        lambda: redeemed(plain, session, turn_terms=TurnTerms()),
        lambda: redeemed(before, None, turn_terms=TurnTerms()),
        lambda: redeemed(before, {"instructions": "b"}, turn_terms=TurnTerms()),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidSessionError, match=f"this gateway allows .* ms, not {value}") as refused:
            attempt()
        assert (refused.value.code, refused.value.param) == ("invalid_value", param)
    assert redeemed(before, server_vad(), turn_terms=TurnTerms()).session["audio"] == server_vad()["audio"]


@pytest.mark.parametrize("turns", ALLOWED)
def test_turn_detection_within_the_bounds_is_granted(turns: JsonValue) -> None:
    session: dict[str, JsonValue] = {"audio": {"input": {"turn_detection": turns}}}
    made = grant(TENANT, read({"session": session}), default_model="d", turn_terms=TurnTerms())
    assert made.session["audio"] == session["audio"]
    assert redeemed(granted({}), session, turn_terms=TurnTerms()).session["audio"] == session["audio"]


LOOK: JsonValue = {"type": "function", "name": "look"}


def test_a_choice_of_tools_is_checked_on_what_tenant_token_and_offer_say_together() -> None:
    for choice in ("required", LOOK):
        with pytest.raises(InvalidSessionError) as refused:
            granted({"session": {"tool_choice": choice}})
        assert (refused.value.code, refused.value.param) == ("invalid_value", "session.tool_choice")
        tenant = Tenant(id=TenantId("b"), session={"tools": [LOOK]})
        sealed = grant(tenant, read({"session": {"tool_choice": choice}}), default_model="d")
        with pytest.raises(InvalidSessionError) as refused:
            redeemed(sealed, {"tools": []})
        assert refused.value.param == "session.tool_choice"
        assert redeemed(sealed, {"tools": [], "tool_choice": "auto"}).session["tools"] == []
        assert redeemed(granted({}), {"tools": [LOOK], "tool_choice": choice}).session["tool_choice"] == choice
