"""How the API says no: a Status with the code, reason and details that the real server gives."""

from typing import NamedTuple

from fake_kubernetes.documents import Json, Object
from fake_kubernetes.kinds import Kind

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
EXPIRED = "The provided continue parameter is too old to display a consistent list result."


class Cause(NamedTuple):
    """One thing that is wrong with one field."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    @property
    def document(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class FieldConflict(NamedTuple):
    """A field that an apply would take from its manager, both in the server's words."""

    manager: str
    field: str


class Refusal(Exception):
    """The request is answered with this Status."""

    def __init__(self, code: int, reason: str, message: str, *, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details

    @property
    def status(self) -> Object:
        document: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
        }
        if self.details is not None:
            document["details"] = self.details
        return document | {"code": self.code}


def required(field: str) -> Cause:
    return Cause(field, "FieldValueRequired", "Required value")


def wrong(field: str, value: str, why: str) -> Cause:
    """`value` is shown as it stands, so quotes belong to it; it must never be a secret."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {value}: {why}")


def forbidden_change(field: str, why: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")


def about(kind: Kind, name: str, *, as_kind: bool = False) -> Object:
    details: Object = {"name": name, "group": kind.group, "kind": kind.kind if as_kind else kind.plural}
    return {field: value for field, value in details.items() if value}


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def not_found(kind: Kind, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{kind.resource} "{name}" not found', details=about(kind, name))


def unknown_path() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource", details={})


def not_allowed() -> Refusal:
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def already_exists(kind: Kind, name: str) -> Refusal:
    return Refusal(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', details=about(kind, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED) -> Refusal:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=about(kind, name))


def apply_conflict(conflicts: list[FieldConflict]) -> Refusal:
    """Refuse an apply that would change fields of other managers."""
    causes: list[Json] = [
        Cause(each.field, "FieldManagerConflict", f"conflict with {each.manager}").document for each in conflicts
    ]
    if len(conflicts) == 1:
        summary = f"1 conflict: conflict with {conflicts[0].manager}: {conflicts[0].field}"
    else:
        summary = f"{len(conflicts)} conflicts:"
        for manager in dict.fromkeys(each.manager for each in conflicts):
            summary += f" conflicts with {manager}:\n" if summary.endswith(":") else f"\nconflicts with {manager}:\n"
            summary += "\n".join(f"- {each.field}" for each in conflicts if each.manager == manager)
    return Refusal(409, "Conflict", f"Apply failed with {summary}", details={"causes": causes})


def not_acceptable(message: str) -> Refusal:
    return Refusal(406, "NotAcceptable", message)


def expired(message: str = EXPIRED) -> Refusal:
    return Refusal(410, "Expired", message)


def too_large(limit: int) -> Refusal:
    return Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media(*accepted: str) -> Refusal:
    known = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return Refusal(415, "UnsupportedMediaType", message)


def invalid(kind: Kind, name: str, causes: list[Cause]) -> Refusal:
    summary = str(causes[0]) if len(causes) == 1 else f"[{', '.join(map(str, causes))}]"
    listed: list[Json] = [cause.document for cause in causes]
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details: Object = {**about(kind, name, as_kind=True), "causes": listed}
    return Refusal(422, "Invalid", f'{qualified} "{name}" is invalid: {summary}', details=details)


def namespace_terminating(kind: Kind, name: str, namespace: str) -> Refusal:
    cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
    message = (
        f'{kind.resource} "{name}" is forbidden: unable to create new content in namespace {namespace} '
        "because it is being terminated"
    )
    return Refusal(403, "Forbidden", message, details={**about(kind, name), "causes": [cause.document]})
