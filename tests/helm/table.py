"""Who may publish and hear which subject: one row a subject, for every function and constant of contracts/subjects.py.

`me` is the process that asks, `other` another of the same role, so that each row says what is one's own.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from services.contracts import subjects
from services.contracts.ids import CallId, ProcessId, TenantId, WorkerId
from services.contracts.subjects import Role

CALL = CallId("rtc_" + "a" * 26)
ACME = TenantId("acme")
ROLES: tuple[Role, ...] = ("signaling", "media", "upstream", "metering")
NOBODY: frozenset[Role] = frozenset()


@dataclass(frozen=True)
class Row:
    """A subject. ``of``: its text, given the process that it names.

    Whoever is in ``publish`` or ``hear`` may do so with the subject that names it; with another's only if it is also in
    ``any_publish`` or ``any_hear``.
    """

    of: Callable[[str], str]
    publish: frozenset[Role] = NOBODY
    hear: frozenset[Role] = NOBODY
    any_publish: frozenset[Role] = NOBODY
    any_hear: frozenset[Role] = NOBODY


def _roles(*names: Role) -> frozenset[Role]:
    return frozenset(names)


S, M, U, T = _roles("signaling"), _roles("media"), _roles("upstream"), _roles("metering")
ROWS: dict[str, Row] = {
    "heartbeat": Row(lambda p: subjects.heartbeat(ProcessId(p)), publish=M, hear=S, any_hear=S),
    "offer": Row(lambda p: subjects.offer(ProcessId(p)), publish=S, hear=M, any_publish=S),
    "claim": Row(lambda p: subjects.claim(ProcessId(p)), publish=M),  # upstream hears it in its queue group only
    "up, by its sender": Row(lambda p: subjects.up(WorkerId("w"), ProcessId(p), CALL), publish=M),
    "up, by its receiver": Row(lambda p: subjects.up(WorkerId(p), ProcessId("m"), CALL), hear=U),
    "up_of": Row(lambda p: subjects.up_of(WorkerId(p)), hear=U),
    "down, by its sender": Row(lambda p: subjects.down(ProcessId("m"), WorkerId(p), CALL), publish=U),
    "down, by its receiver": Row(lambda p: subjects.down(ProcessId(p), WorkerId("w"), CALL), hear=M),
    "down_of": Row(lambda p: subjects.down_of(ProcessId(p)), hear=M),
    "control": Row(lambda p: subjects.control(ProcessId(p), CALL), publish=S, hear=M, any_publish=S),
    "call_started": Row(lambda p: subjects.call_started(ProcessId(p)), publish=M),
    "call_ended": Row(lambda p: subjects.call_ended(ProcessId(p)), publish=M),
    "usage, of media": Row(lambda p: subjects.usage("media", p, ACME), publish=M),
    "usage, of upstream": Row(lambda p: subjects.usage("upstream", p, ACME), publish=U),
    "watermark": Row(lambda p: subjects.watermark(p, f"{p}-0"), publish=T, hear=M | U, any_publish=T),
    "HEARTBEATS": Row(lambda _: subjects.HEARTBEATS, hear=S, any_hear=S),
    "CLAIMS": Row(lambda _: subjects.CLAIMS),
    "USAGE_SUBJECTS": Row(lambda _: subjects.USAGE_SUBJECTS),
    "CALLS_SUBJECTS": Row(lambda _: subjects.CALLS_SUBJECTS),
    "PLACED": Row(lambda _: subjects.PLACED, publish=S, any_publish=S),
    "USAGE_STREAM": Row(lambda _: f"$JS.API.STREAM.PURGE.{subjects.USAGE_STREAM}"),
    "CALLS_STREAM": Row(lambda _: f"$JS.API.STREAM.DELETE.{subjects.CALLS_STREAM}"),
    "PLACED_STREAM": Row(lambda _: f"$JS.API.STREAM.MSG.DELETE.{subjects.PLACED_STREAM}"),
    "USAGE_STREAM, made": Row(lambda _: "$JS.API.STREAM.CREATE.USAGE", publish=T, any_publish=T),
    "USAGE_STREAM, changed": Row(lambda _: "$JS.API.STREAM.UPDATE.USAGE", publish=T, any_publish=T),
    "USAGE_STREAM, read": Row(lambda _: "$JS.API.STREAM.MSG.GET.USAGE"),
    "USAGE_STREAM, read by subject": Row(lambda _: "$JS.API.DIRECT.GET.USAGE.hg.usage.media.m.acme"),
    "USAGE_STREAM, consumed": Row(lambda _: "$JS.API.CONSUMER.CREATE.USAGE.mine"),
    "GRANTS_BUCKET": Row(lambda _: f"$KV.{subjects.GRANTS_BUCKET}.k", publish=S, any_publish=S),
    "GRANTS_BUCKET, read": Row(
        lambda _: f"$JS.API.DIRECT.GET.KV_{subjects.GRANTS_BUCKET}.$KV.grants.k", publish=S, any_publish=S
    ),
    "GRANTS_BUCKET, purged": Row(lambda _: f"$JS.API.STREAM.PURGE.KV_{subjects.GRANTS_BUCKET}"),
    "GRANTS_BUCKET, changed": Row(
        lambda _: f"$JS.API.STREAM.UPDATE.KV_{subjects.GRANTS_BUCKET}", publish=S, any_publish=S
    ),
    "ACCESS_BUCKET": Row(lambda _: f"$KV.{subjects.ACCESS_BUCKET}.k", publish=S, any_publish=S),
    "ACCESS_BUCKET, read": Row(
        lambda _: f"$JS.API.DIRECT.GET.KV_{subjects.ACCESS_BUCKET}.$KV.access.k", publish=S, any_publish=S
    ),
    "LEASES_BUCKET, changed": Row(
        lambda _: f"$JS.API.STREAM.UPDATE.KV_{subjects.LEASES_BUCKET}", publish=U, any_publish=U
    ),
    "LEASES_BUCKET": Row(lambda _: f"$KV.{subjects.LEASES_BUCKET}.k", publish=U, any_publish=U),
    "UPSTREAM_QUEUE": Row(lambda _: subjects.UPSTREAM_QUEUE),
    "the inbox": Row(lambda p: f"_INBOX_{p}.x", hear=_roles(*ROLES)),
    "everybody's inbox": Row(lambda _: "_INBOX.>"),
    "everything": Row(lambda _: ">"),
    "a stream of one's own": Row(lambda _: "$JS.API.STREAM.CREATE.MINE"),
    "the system": Row(lambda _: "$SYS.REQ.SERVER.PING"),
}
_NO_SUBJECTS = {"usage_sender", "call_of", "process_of"}
"""Functions that read a subject."""


def named() -> set[str]:
    """What contracts/subjects.py has of subjects, streams, buckets and queues."""
    members = inspect.getmembers(subjects)
    functions = {name for name, each in members if inspect.isfunction(each) and each.__module__ == subjects.__name__}
    constants = {name for name, each in members if isinstance(each, str) and name.isupper()}
    return (functions | constants) - _NO_SUBJECTS
