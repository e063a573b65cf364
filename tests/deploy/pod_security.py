"""What the Pod Security Standard `restricted` asks of a pod, as far as a manifest can tell.

The admission plugin that enforces it came after the API server of the tests. Whatever is not allowed by name counts as
a violation, so that a field that is new here is reviewed.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator

from fake_kubernetes.documents import Json, items, mapping, text

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
JUDGED = {
    "allowPrivilegeEscalation",
    "capabilities",
    "fsGroup",
    "fsGroupChangePolicy",
    "privileged",
    "readOnlyRootFilesystem",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seccompProfile",
    "supplementalGroups",
}
"""Fields of a security context that the standard lets alone, or that are judged below."""


def violations(spec: Json) -> list[str]:
    """Each field of a pod's spec that the standard forbids or misses."""
    containers = [container for group in CONTAINERS for container in items(spec, group)]
    return [*_of_the_pod(spec), *(found for container in containers for found in _of(container, spec))]


def _of_the_pod(spec: Json) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if mapping(spec).get(name))
    yield from _unknown(mapping(spec, "securityContext"))
    for volume in items(spec, "volumes"):
        yield from (kind for kind in mapping(volume) if kind != "name" and kind not in VOLUMES)


def _of(container: Json, spec: Json) -> Iterator[str]:
    own, of_the_pod = mapping(container, "securityContext"), mapping(spec, "securityContext")
    effective = of_the_pod | own
    yield from _unknown(own)
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if items(own, "capabilities", "drop") != ["ALL"] or items(own, "capabilities", "add"):
        yield "capabilities"
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if 0 in (own.get("runAsUser"), of_the_pod.get("runAsUser")):
        yield "runAsUser"
    if text(effective, "seccompProfile", "type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    yield from ("hostPort" for port in items(container, "ports") if mapping(port).get("hostPort"))


def _unknown(context: Json) -> Iterator[str]:
    yield from (name for name in mapping(context) if name not in JUDGED)
