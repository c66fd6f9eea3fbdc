"""Sessions with rates, and what the core asks and tells about them."""

from services.contracts.grant import Limits, MinuteLimits
from services.upstream.core.commands import CountRateRefusal, TakeRates
from services.upstream.core.minute_use import RateExceeded
from tests.upstream.drive import Drive, core_of


def token(**limits: int) -> Drive:
    return Drive(core_of(limits=Limits.model_validate(limits))).ready()


def tenant(**limits: int) -> Drive:
    return Drive(core_of(tenant_limits=MinuteLimits.model_validate(limits))).ready()


def questions(d: Drive) -> list[TakeRates]:
    return [c for c in d.commands if isinstance(c, TakeRates)]


def answer(d: Drive, exceeded: RateExceeded | None = None) -> None:
    """Answer the last question about the tenant."""
    d.record(d.core.rates_answered(questions(d)[-1].ticket, exceeded, now=d.now))


def requested(d: Drive) -> int:
    return d.sent_types.count("response.create")


def refusals(d: Drive) -> list[tuple[str, str]]:
    return [(c.owner, c.kind) for c in d.commands if isinstance(c, CountRateRefusal)]
