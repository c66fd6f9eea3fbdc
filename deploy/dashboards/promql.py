"""Words for PromQL: every metric is read in the namespaces that the reader chose."""

NAMESPACE = 'namespace=~"$namespace"'
TENANT = 'tenant=~"$tenant"'
PROVIDER = 'provider=~"$provider"'
RECENT = "$__rate_interval"
"""Grafana's window for a rate: at least four scrapes."""
SHOWN = "$__range"
"""The whole time that the dashboard shows."""


def metric(name: str, *matchers: str) -> str:
    """The series of ``name``."""
    return f"hushgate_{name}{{{','.join((NAMESPACE, *matchers))}}}"


def recorded(name: str) -> str:
    """The series of a recording rule of `deploy/helm/rules`, one for each namespace."""
    return f"namespace:hushgate_{name}{{{NAMESPACE}}}"


def rate(name: str, *matchers: str, window: str = RECENT) -> str:
    """How fast a counter grows, each second."""
    return f"rate({metric(name, *matchers)}[{window}])"


def increase(name: str, *matchers: str, window: str = SHOWN) -> str:
    """By how much a counter grew."""
    return f"increase({metric(name, *matchers)}[{window}])"


def total(expression: str, *by: str) -> str:
    """The sum, for each value of the labels ``by``."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def quantile(q: float, name: str, *matchers: str, by: tuple[str, ...] = (), window: str = RECENT) -> str:
    """What the share ``q`` of the observations of a histogram stays below."""
    return f"histogram_quantile({q}, {total(rate(f'{name}_bucket', *matchers, window=window), 'le', *by)})"


def mean(name: str, *matchers: str, window: str = RECENT) -> str:
    """The average observation of a histogram."""
    seconds, count = (total(rate(f"{name}_{part}", *matchers, window=window)) for part in ("sum", "count"))
    return f"{seconds} / {count}"


def or_zero(expression: str) -> str:
    """For what has not happened yet: its counter has no series, and that is a nought."""
    return f"{expression} or vector(0)"


def or_none(expression: str, label: str) -> str:
    """Only what happens; when nothing does, one line called `none`."""
    return f'{expression} > 0 or on () label_replace(vector(0), "{label}", "none", "", "")'
