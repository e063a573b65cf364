"""The HTTP server: /metrics for Prometheus, the probes for the kubelet, and pages that others add.

listener     the socket
connections  hypercorn on each connection, with bounds on their number and on slow clients
router       what is served: exact paths, GET and HEAD, and a gate in front of what is guarded
probes       /healthz and /readyz
metrics      /metrics
"""
