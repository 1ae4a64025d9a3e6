"""The families that every service of the system has, by the names that its code knows.

Happy path:
    1. `HTTP_REQUESTS_TOTAL.labels(method="GET", endpoint="/", service="shop", status="200").inc()`, from
       any process and thread
    2. the daemon adds it to what all processes have sent; its /metrics shows it

Names, labels and buckets are those of config/families.json; a test compares them. `_family` and
`_series` say what can fail.
"""
import datetime

from . import _locate
from ._family import Counter, Gauge, Histogram, Info
from ._version import CONSTITUTIONAL_HASH

__all__ = [
    "CACHE_HITS_TOTAL", "CACHE_MISSES_TOTAL", "CACHE_SIZE", "CONSTITUTIONAL_VALIDATIONS_TOTAL",
    "CONSTITUTIONAL_VALIDATION_DURATION", "CONSTITUTIONAL_VIOLATIONS_TOTAL", "Counter", "Gauge",
    "HTTP_REQUESTS_IN_PROGRESS", "HTTP_REQUESTS_TOTAL", "HTTP_REQUEST_DURATION", "Histogram", "Info",
    "MESSAGES_TOTAL", "MESSAGE_PROCESSING_DURATION", "MESSAGE_QUEUE_DEPTH", "PROMETHEUS_AVAILABLE",
    "SERVICE_INFO", "WORKFLOW_EXECUTIONS_TOTAL", "WORKFLOW_EXECUTION_DURATION",
    "WORKFLOW_STEP_DURATION", "WORKFLOW_STEP_RETRIES_TOTAL", "set_service_info",
]

# Metrics need nothing but this package. Code that asks before it records goes on recording.
PROMETHEUS_AVAILABLE = not _locate.disabled()

_STEPS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds, of what is short
_LONGER_STEPS = (*_STEPS, 2.5, 5.0)

HTTP_REQUEST_DURATION = Histogram(
    "http_request_duration_seconds", "Time from the arrival of an HTTP request to its answer.",
    ["method", "endpoint", "service"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0))
HTTP_REQUESTS_TOTAL = Counter(
    "http_requests_total", "HTTP requests answered; status 499 is a client that went away.",
    ["method", "endpoint", "service", "status"])
HTTP_REQUESTS_IN_PROGRESS = Gauge(
    "http_requests_in_progress", "HTTP requests being worked on, in all processes of the service.",
    ["method", "endpoint", "service"], aggregation="sum")
CONSTITUTIONAL_VALIDATIONS_TOTAL = Counter(
    "constitutional_validations_total", "Constitutional validations that ended, by result.",
    ["service", "result"])
CONSTITUTIONAL_VIOLATIONS_TOTAL = Counter(
    "constitutional_violations_total",
    "Violations found, by the exception's class, or hash_mismatch for a client of another hash.",
    ["service", "violation_type"])
CONSTITUTIONAL_VALIDATION_DURATION = Histogram(
    "constitutional_validation_duration_seconds", "Time that a constitutional validation took.",
    ["service"],
    buckets=_STEPS)
MESSAGE_PROCESSING_DURATION = Histogram(
    "message_processing_duration_seconds", "Time that the handling of a message took.",
    ["message_type", "priority"],
    buckets=_LONGER_STEPS)
MESSAGES_TOTAL = Counter(
    "messages_total", "Messages handled, by how it ended.", ["message_type", "priority", "status"])
MESSAGE_QUEUE_DEPTH = Gauge(
    "message_queue_depth", "Messages that wait in a queue, as the process that looked last saw it.",
    ["queue_name", "priority"], aggregation="last")
CACHE_HITS_TOTAL = Counter(
    "cache_hits_total", "Cache operations that found what they looked for.",
    ["cache_name", "operation"])
CACHE_MISSES_TOTAL = Counter(
    "cache_misses_total", "Cache operations that did not find what they looked for.",
    ["cache_name", "operation"])
CACHE_SIZE = Gauge(
    "cache_size_bytes", "Bytes that a cache holds, as the process that looked last saw it.", ["cache_name"],
    aggregation="last")
SERVICE_INFO = Info(
    "acgs2_service_info", "The service, its version, the hash it stands by, and when it began.")
WORKFLOW_EXECUTION_DURATION = Histogram(
    "workflow_execution_duration_seconds", "Time from the start of a workflow to its end.",
    ["workflow_name", "status"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0))
WORKFLOW_EXECUTIONS_TOTAL = Counter(
    "workflow_executions_total", "Workflows that ended, by how.", ["workflow_name", "status"])
WORKFLOW_STEP_DURATION = Histogram(
    "workflow_step_duration_seconds", "Time that a step of a workflow took, retries each for itself.",
    ["workflow_name", "step_name", "status"], buckets=_LONGER_STEPS)
WORKFLOW_STEP_RETRIES_TOTAL = Counter(
    "workflow_step_retries_total", "Steps of workflows that were tried again.",
    ["workflow_name", "step_name"])

# All in the order of the file, for those who go through them.
FAMILIES = (
    HTTP_REQUEST_DURATION, HTTP_REQUESTS_TOTAL, HTTP_REQUESTS_IN_PROGRESS,
    CONSTITUTIONAL_VALIDATIONS_TOTAL, CONSTITUTIONAL_VIOLATIONS_TOTAL,
    CONSTITUTIONAL_VALIDATION_DURATION, MESSAGE_PROCESSING_DURATION, MESSAGES_TOTAL,
    MESSAGE_QUEUE_DEPTH, CACHE_HITS_TOTAL, CACHE_MISSES_TOTAL, CACHE_SIZE, SERVICE_INFO,
    WORKFLOW_EXECUTION_DURATION, WORKFLOW_EXECUTIONS_TOTAL, WORKFLOW_STEP_DURATION,
    WORKFLOW_STEP_RETRIES_TOTAL)

# When this module was read: one time for all workers of a server that loads it before it forks.
_START_TIME = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def set_service_info(service_name: object, version: object,
                     constitutional_hash: object = CONSTITUTIONAL_HASH) -> None:
    """Says which service this is, and since when it runs. Once a process is enough. Never raises."""
    SERVICE_INFO.info({"service_name": service_name, "version": version,
                       "constitutional_hash": constitutional_hash, "start_time": _START_TIME})
