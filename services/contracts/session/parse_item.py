"""Checks the conversation items that a client creates or gives to a response."""

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from services.contracts.session.field_base import SessionPart
from services.contracts.session.item_fields import CONTENT, ITEMS, MessageItemFields, ReferenceItemFields
from services.contracts.session.parse import MAX_NAME, MAX_PROBLEM, InvalidSessionError
from services.contracts.session.registry import ITEM_HINTS

_REFERENCE: dict[str, type[SessionPart]] = {"item_reference": ReferenceItemFields}


def check_item(item: Mapping[str, JsonValue], param: str = "item", *, as_input: bool = False) -> None:
    """Check an item at the path ``param``. ``as_input``: of a response, which may be a reference.

    Raises:
        InvalidSessionError: it has an unknown field, a wrong value, or content that its role does not have.
    """
    kinds = {**ITEMS, **_REFERENCE} if as_input else ITEMS
    checked = _checked(item, _chosen(item, kinds, param), param)
    if isinstance(checked, MessageItemFields):
        for index, part in enumerate(checked.content):
            where = f"{param}.content[{index}]"
            _checked(part, _chosen(part, CONTENT[checked.role], where), where)


def _chosen(source: Mapping[str, JsonValue], kinds: Mapping[str, type[SessionPart]], param: str) -> type[SessionPart]:
    """Return the model of the type of ``source``."""
    kind = source.get("type")
    if kind is None:
        raise _missing(f"{param}.type")
    if not isinstance(kind, str) or kind not in kinds:
        known = ", ".join(f"'{name}'" for name in kinds)
        message = f"Invalid value: '{str(kind)[:MAX_NAME]}'. Supported values are: {known}."
        raise InvalidSessionError(f"{param}.type", message)
    return kinds[kind]


def _checked(source: Mapping[str, JsonValue], model: type[SessionPart], param: str) -> SessionPart:
    try:
        return model.model_validate(source)
    except ValidationError as exc:
        errors = exc.errors(include_input=False, include_url=False)
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    path = param + "".join(f"[{step}]" if isinstance(step, int) else f".{step[:MAX_NAME]}" for step in first["loc"])
    if first["type"] == "extra_forbidden":
        known = f"Fields here: {', '.join(sorted(model.model_fields))}." if len(first["loc"]) == 1 else ""
        hint = ITEM_HINTS.get(str(first["loc"][-1]), known)
        raise InvalidSessionError(path, f"Unknown parameter: '{path}'. {hint}".rstrip(), code="unknown_parameter")
    if first["type"] == "missing" or _is_null(source, first["loc"]):
        raise _missing(path)
    raise InvalidSessionError(path, f"Invalid value for '{path}': {first['msg'][:MAX_PROBLEM]}.")


def _is_null(source: Mapping[str, JsonValue], steps: tuple[int | str, ...]) -> bool:
    """Whether a field that is needed is null."""
    return len(steps) == 1 and str(steps[0]) in source and source[str(steps[0])] is None


def _missing(path: str) -> InvalidSessionError:
    return InvalidSessionError(path, f"Missing required parameter: '{path}'.", code="missing_required_parameter")
