"""Parse price books strictly: an error names the file, the key and the expected value."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from services.contracts.usage import Meter
from services.metering.core.pricing import BILLED, MeterKind, PriceBook, PriceRule, UnitPrice

_PRICE = re.compile(r"(?P<usd>\d{1,9}(\.\d{1,9})?) / (?P<unit>[A-Za-z0-9 ]+)\Z")
_TOKENS: Mapping[str, int] = {"1M tokens": 1_000_000}
_TIMES: Mapping[str, int] = {"second": 1000, "minute": 60_000, "hour": 3_600_000}
_COUNTS: Mapping[str, int] = {"item": 1}

_REQUIRED: Mapping[MeterKind, frozenset[Meter]] = {
    MeterKind.RESPONSE_TOKENS: frozenset(
        {
            Meter.TOKENS_TEXT_IN,
            Meter.TOKENS_TEXT_IN_CACHED,
            Meter.TOKENS_TEXT_OUT,
            Meter.TOKENS_AUDIO_IN,
            Meter.TOKENS_AUDIO_IN_CACHED,
            Meter.TOKENS_AUDIO_OUT,
        }
    ),
    MeterKind.AUDIO_SECONDS: frozenset({Meter.AUDIO_SENT_MS, Meter.AUDIO_GENERATED_MS}),
    MeterKind.SESSION_SECONDS: frozenset({Meter.SESSION_MS}),
    MeterKind.TRANSCRIPTION: frozenset(),
}
"""Meters that a model of each kind must price; write 0 if one is free."""


class BadBookError(ValueError):
    """The price book is invalid; ``str()`` names file, key and expected value."""


def _is_day(text: str) -> str:
    date.fromisoformat(text)
    return text


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    meter_kind: MeterKind
    prices: dict[str, str] = Field(min_length=1)


class _Edition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_from: Annotated[str, AfterValidator(_is_day)]
    source: str = Field(min_length=1)
    models: dict[str, _Model] = Field(min_length=1)


class _BookFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    charged: StrictBool
    editions: list[_Edition] = Field(min_length=1)


def parse(content: object, *, file: str) -> list[PriceBook]:
    """Return the price books in the parsed YAML of ``file``, one per edition.

    Raises:
        BadBookError: the first error, in one line.
    """
    try:
        read = _BookFile.model_validate(content)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise BadBookError(
            f"price book {file}: {key}: {first['msg']}; see services/metering/books/openai.yaml"
        ) from None
    books = [_book(read, edition, file) for edition in read.editions]
    days = [book.valid_from for book in books]
    if len(set(days)) < len(days):
        raise BadBookError(f"price book {file}: editions: each needs a valid_from of its own")
    return books


def _book(read: _BookFile, edition: _Edition, file: str) -> PriceBook:
    return PriceBook(
        provider=read.provider,
        valid_from=date.fromisoformat(edition.valid_from),
        charged=read.charged,
        source=edition.source,
        rates=tuple(_rate(name, model, f"{file}: models.{name}") for name, model in edition.models.items()),
    )


def _rate(pattern: str, model: _Model, where: str) -> PriceRule:
    prices = {
        _meter(name, model.meter_kind, where): _unit_price(name, text, where) for name, text in model.prices.items()
    }
    missing = sorted(_REQUIRED[model.meter_kind] - prices.keys())
    if missing:
        raise BadBookError(f'price book {where}.prices: {", ".join(missing)} missing; write "0 / …" for what is free')
    return PriceRule(pattern=pattern, kind=model.meter_kind, prices=prices)


def _meter(name: str, kind: MeterKind, where: str) -> Meter:
    known = sorted(BILLED[kind])
    if name not in known:
        raise BadBookError(f"price book {where}.prices.{name}: {kind} bills one of {', '.join(known)}")
    return Meter(name)


def _unit_price(name: str, text: str, where: str) -> UnitPrice:
    units = _TIMES if name.endswith("_ms") else _TOKENS if "tokens" in name else _COUNTS
    match = _PRICE.match(text)
    if match is None or match["unit"] not in units:
        wanted = " or ".join(f'"0.05 / {unit}"' for unit in units)
        raise BadBookError(f"price book {where}.prices.{name}: write dollars and unit like {wanted}, not {text!r}")
    return UnitPrice(usd=Decimal(match["usd"]), per=units[match["unit"]])
