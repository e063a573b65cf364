"""How kstatus reads an object, by which Flux, Helm 4 and kpt wait: its rules for kinds that it does not know.

    1  it is being deleted                                     Terminating
    2  status.observedGeneration is there, and not the         InProgress
       object's generation
    3  of the conditions, in their order, the first of these:
         Reconciling is True                                   InProgress
         Stalled is True                                       Failed
    4  the condition Ready is True                             Current
       or it is False or Unknown                               InProgress
    5  all others                                              Current

Source: sigs.k8s.io/cli-utils, pkg/kstatus/status, generic.go (checkGenericProperties, checkGeneration) and status.go
(Compute, checkReadyCondition), v0.37.2, which called all states of test_waiting.py the same.
"""

from fake_kubernetes.documents import Object, at, items, text

ABNORMAL = {("Reconciling", "True"): "InProgress", ("Stalled", "True"): "Failed"}
READY = {("Ready", "True"): "Current", ("Ready", "False"): "InProgress", ("Ready", "Unknown"): "InProgress"}


def status(document: Object) -> str:
    """What kstatus calls the object."""
    if text(document, "metadata", "deletionTimestamp"):
        return "Terminating"
    generation, observed = at(document, "metadata", "generation"), at(document, "status", "observedGeneration")
    if None not in (generation, observed) and generation != observed:
        return "InProgress"
    conditions = [(text(each, "type"), text(each, "status")) for each in items(document, "status", "conditions")]
    known = [each for kinds in (ABNORMAL, READY) for each in conditions if each in kinds]
    return (ABNORMAL | READY)[known[0]] if known else "Current"
