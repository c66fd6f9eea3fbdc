"""PromQL expressions; every metric is restricted to the namespaces chosen in the dashboard."""

NAMESPACE = 'namespace=~"$namespace"'
TENANT = 'tenant=~"$tenant"'
PROVIDER = 'provider=~"$provider"'
RECENT = "$__rate_interval"
"""Grafana's variable for a rate's window: at least four scrapes."""
SHOWN = "$__range"
"""Grafana's variable for the dashboard's whole time range."""


def metric(name: str, *matchers: str) -> str:
    """Return the selector of the metric ``name``."""
    return f"hushgate_{name}{{{','.join((NAMESPACE, *matchers))}}}"


def recorded(name: str) -> str:
    """Return the selector of a recording rule of `deploy/helm/rules`, one series per namespace."""
    return f"namespace:hushgate_{name}{{{NAMESPACE}}}"


def rate(name: str, *matchers: str, window: str = RECENT) -> str:
    """Return a counter's increase per second."""
    return f"rate({metric(name, *matchers)}[{window}])"


def increase(name: str, *matchers: str, window: str = SHOWN) -> str:
    """Return a counter's increase over ``window``."""
    return f"increase({metric(name, *matchers)}[{window}])"


def total(expression: str, *by: str) -> str:
    """Return the sum, for each value of the labels ``by``."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def quantile(q: float, name: str, *matchers: str, by: tuple[str, ...] = (), window: str = RECENT) -> str:
    """Return the quantile ``q`` (0 to 1) of a histogram."""
    return f"histogram_quantile({q}, {total(rate(f'{name}_bucket', *matchers, window=window), 'le', *by)})"


def mean(name: str, *matchers: str, window: str = RECENT) -> str:
    """Return the mean observation of a histogram."""
    seconds, count = (total(rate(f"{name}_{part}", *matchers, window=window)) for part in ("sum", "count"))
    return f"{seconds} / {count}"


def or_zero(expression: str) -> str:
    """Return ``expression``, or 0 if it has no series; a counter has none before its first event."""
    return f"{expression} or vector(0)"


def or_none(expression: str, label: str) -> str:
    """Return the series of ``expression`` above 0; if there are none, one with ``label`` set to `none`."""
    return f'{expression} > 0 or on () label_replace(vector(0), "{label}", "none", "", "")'
