"""Which role may publish and subscribe which subject: a row for each function and constant of contracts/subjects.py.

`me` is the process that connects, `other` another of the same role.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from services.contracts import subjects
from services.contracts.ids import CallId, ProcessId, TenantId, WorkerId
from services.contracts.subjects import ServiceRole

CALL = CallId("rtc_" + "a" * 26)
ACME = TenantId("acme")
ROLES: tuple[ServiceRole, ...] = ("signaling", "media", "upstream", "metering")
NOBODY: frozenset[ServiceRole] = frozenset()


@dataclass(frozen=True)
class SubjectRow:
    """A subject. ``of`` returns its text for the process that it names.

    A role in ``publish`` or ``subscribe`` may do so with the subject that names its own process; with another's only
    if it is also in ``any_publish`` or ``any_subscribe``.
    """

    of: Callable[[str], str]
    publish: frozenset[ServiceRole] = NOBODY
    subscribe: frozenset[ServiceRole] = NOBODY
    any_publish: frozenset[ServiceRole] = NOBODY
    any_subscribe: frozenset[ServiceRole] = NOBODY


def _roles(*names: ServiceRole) -> frozenset[ServiceRole]:
    return frozenset(names)


S, M, U, T = _roles("signaling"), _roles("media"), _roles("upstream"), _roles("metering")
ROWS: dict[str, SubjectRow] = {
    "heartbeat": SubjectRow(lambda p: subjects.heartbeat(ProcessId(p)), publish=M, subscribe=S, any_subscribe=S),
    "offer": SubjectRow(lambda p: subjects.offer(ProcessId(p)), publish=S, subscribe=M, any_publish=S),
    "key_check": SubjectRow(lambda p: subjects.key_check(ProcessId(p)), publish=M, subscribe=S, any_subscribe=S),
    "keys_checked": SubjectRow(lambda p: subjects.keys_checked(ProcessId(p)), publish=S, subscribe=M, any_publish=S),
    "claim": SubjectRow(
        lambda p: subjects.claim(ProcessId(p)), publish=M
    ),  # upstream subscribes in its queue group only
    "up, by its sender": SubjectRow(lambda p: subjects.up(WorkerId("w"), ProcessId(p), CALL), publish=M),
    "up, by its receiver": SubjectRow(lambda p: subjects.up(WorkerId(p), ProcessId("m"), CALL), subscribe=U),
    "up_of": SubjectRow(lambda p: subjects.up_of(WorkerId(p)), subscribe=U),
    "down, by its sender": SubjectRow(lambda p: subjects.down(ProcessId("m"), WorkerId(p), CALL), publish=U),
    "down, by its receiver": SubjectRow(lambda p: subjects.down(ProcessId(p), WorkerId("w"), CALL), subscribe=M),
    "down_of": SubjectRow(lambda p: subjects.down_of(ProcessId(p)), subscribe=M),
    "control": SubjectRow(lambda p: subjects.control(ProcessId(p), CALL), publish=S, subscribe=M, any_publish=S),
    "call_started": SubjectRow(lambda p: subjects.call_started(ProcessId(p)), publish=M),
    "call_ended": SubjectRow(lambda p: subjects.call_ended(ProcessId(p)), publish=M),
    "usage, of media": SubjectRow(lambda p: subjects.usage("media", p, ACME), publish=M),
    "usage, of upstream": SubjectRow(lambda p: subjects.usage("upstream", p, ACME), publish=U),
    "watermark": SubjectRow(lambda p: subjects.watermark(p, f"{p}-0"), publish=T, subscribe=M | U, any_publish=T),
    "HEARTBEATS": SubjectRow(lambda _: subjects.HEARTBEATS, subscribe=S, any_subscribe=S),
    "KEY_CHECKS": SubjectRow(lambda _: subjects.KEY_CHECKS, subscribe=S, any_subscribe=S),
    "CLAIMS": SubjectRow(lambda _: subjects.CLAIMS),
    "USAGE_SUBJECTS": SubjectRow(lambda _: subjects.USAGE_SUBJECTS),
    "CALLS_SUBJECTS": SubjectRow(lambda _: subjects.CALLS_SUBJECTS),
    "PLACED": SubjectRow(lambda _: subjects.PLACED, publish=S, any_publish=S),
    "USAGE_STREAM": SubjectRow(lambda _: f"$JS.API.STREAM.PURGE.{subjects.USAGE_STREAM}"),
    "CALLS_STREAM": SubjectRow(lambda _: f"$JS.API.STREAM.DELETE.{subjects.CALLS_STREAM}"),
    "PLACED_STREAM": SubjectRow(lambda _: f"$JS.API.STREAM.MSG.DELETE.{subjects.PLACED_STREAM}"),
    "USAGE_STREAM, made": SubjectRow(lambda _: "$JS.API.STREAM.CREATE.USAGE", publish=T, any_publish=T),
    "USAGE_STREAM, changed": SubjectRow(lambda _: "$JS.API.STREAM.UPDATE.USAGE", publish=T, any_publish=T),
    "USAGE_STREAM, read": SubjectRow(lambda _: "$JS.API.STREAM.MSG.GET.USAGE"),
    "USAGE_STREAM, read by subject": SubjectRow(lambda _: "$JS.API.DIRECT.GET.USAGE.hg.usage.media.m.acme"),
    "USAGE_STREAM, consumed": SubjectRow(lambda _: "$JS.API.CONSUMER.CREATE.USAGE.mine"),
    "GRANTS_BUCKET": SubjectRow(lambda _: f"$KV.{subjects.GRANTS_BUCKET}.k", publish=S, any_publish=S),
    "GRANTS_BUCKET, read": SubjectRow(
        lambda _: f"$JS.API.DIRECT.GET.KV_{subjects.GRANTS_BUCKET}.$KV.grants.k", publish=S, any_publish=S
    ),
    "GRANTS_BUCKET, purged": SubjectRow(lambda _: f"$JS.API.STREAM.PURGE.KV_{subjects.GRANTS_BUCKET}"),
    "GRANTS_BUCKET, changed": SubjectRow(
        lambda _: f"$JS.API.STREAM.UPDATE.KV_{subjects.GRANTS_BUCKET}", publish=S, any_publish=S
    ),
    "ACCESS_BUCKET": SubjectRow(lambda _: f"$KV.{subjects.ACCESS_BUCKET}.k", publish=S, any_publish=S),
    "ACCESS_BUCKET, read": SubjectRow(
        lambda _: f"$JS.API.DIRECT.GET.KV_{subjects.ACCESS_BUCKET}.$KV.access.k", publish=S, any_publish=S
    ),
    "LEASES_BUCKET, changed": SubjectRow(
        lambda _: f"$JS.API.STREAM.UPDATE.KV_{subjects.LEASES_BUCKET}", publish=U, any_publish=U
    ),
    "LEASES_BUCKET": SubjectRow(lambda _: f"$KV.{subjects.LEASES_BUCKET}.k", publish=U, any_publish=U),
    "RATES_BUCKET": SubjectRow(lambda _: f"$KV.{subjects.RATES_BUCKET}.k", publish=U, any_publish=U),
    "RATES_BUCKET, read": SubjectRow(
        lambda _: f"$JS.API.DIRECT.GET.KV_{subjects.RATES_BUCKET}.$KV.rates.k", publish=U, any_publish=U
    ),
    "UPSTREAM_QUEUE": SubjectRow(lambda _: subjects.UPSTREAM_QUEUE),
    "the inbox": SubjectRow(lambda p: f"_INBOX_{p}.x", subscribe=_roles(*ROLES)),
    "everybody's inbox": SubjectRow(lambda _: "_INBOX.>"),
    "everything": SubjectRow(lambda _: ">"),
    "a stream of one's own": SubjectRow(lambda _: "$JS.API.STREAM.CREATE.MINE"),
    "the system": SubjectRow(lambda _: "$SYS.REQ.SERVER.PING"),
}
_NO_SUBJECTS = {"usage_sender", "call_of", "process_of"}
"""Functions that read a subject."""


def named() -> set[str]:
    """Return the names of subjects, streams, buckets and queues in contracts/subjects.py."""
    members = inspect.getmembers(subjects)
    functions = {name for name, each in members if inspect.isfunction(each) and each.__module__ == subjects.__name__}
    constants = {name for name, each in members if isinstance(each, str) and name.isupper()}
    return (functions | constants) - _NO_SUBJECTS
