"""Each value is explained, in values.yaml and so in the README."""

from tests.helm import readme
from tests.helm.chart import CHART, loaded

VALUES = list(readme.rows((CHART / "values.yaml").read_text()))
TAIL = (
    "resources",
    "terminationGracePeriodSeconds",
    "topologySpread",
    "priorityClassName",
    "nodeSelector",
    "tolerations",
    "affinity",
    "podLabels",
    "podAnnotations",
)


def test_the_table_is_what_values_yaml_says() -> None:
    assert readme.README.read_text() == readme.fresh(), "make chart-docs"


def test_every_value_has_a_comment() -> None:
    unexplained = [row.path for row in VALUES if row.value and not row.comment and "resources" not in row.path]
    assert unexplained == []


def test_each_service_has_the_same_keys_in_the_same_order() -> None:
    for service in ("signaling", "media", "upstream", "metering", "rehearsal", "nats"):
        keys = [row.path[1] for row in VALUES if len(row.path) == 2 and row.path[0] == service]
        assert tuple(keys[-len(TAIL) :]) == TAIL
        assert [key for key in keys if key in ("replicas", "settings")] == sorted({"replicas", "settings"} & set(keys))
        assert set(keys) == set(loaded().values[service])
