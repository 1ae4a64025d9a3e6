"""An OTLP/gRPC server that answers as a test tells it to, and keeps what it was sent.

    receiver = Receiver()
    receiver.script("traces", Answer("UNAVAILABLE", retry_s=0.2), Answer(rejected=3))

The first call for traces gets the first answer, the second one the second, and all that follow are taken.
"""
import collections
import concurrent.futures
import dataclasses
import gzip
import threading
import time

import grpc
import otlp
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from harness import WAIT_S, until
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from proxy import Proxy

DETAILS = "grpc-status-details-bin"  # a google.rpc.Status: where RetryInfo belongs
PYTHON_RETRY = "google.rpc.retryinfo-bin"  # where the Python SDK looks for it
HOLD = threading.TIMEOUT_MAX  # a delay that ends with release(), or with the call

# Error codes of HTTP/2, RFC 9113 section 7.
INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 2, 7, 8, 11

_GZIP = b"\x1f\x8b"


@dataclasses.dataclass(frozen=True)
class Answer:
    """To one call. Without anything: it is taken."""
    status: str = "OK"  # a status code of gRPC
    message: str = ""
    retry_s: float | None = None  # RetryInfo, for statuses other than OK
    retry_trailer: str = DETAILS
    rejected: int | None = None  # of a partial success
    rejected_message: str = ""
    body: bytes | None = None  # in place of a response
    delay_s: float = 0  # before all of this
    reset: str = ""  # in place of all of this: "connection" or "stream"
    reset_code: int = INTERNAL_ERROR  # of the stream


TAKEN = Answer()
UNREADABLE = Answer("INTERNAL", "no such message can be read from it")


@dataclasses.dataclass
class Call:
    """One that came, whatever became of it."""
    at: float  # time.monotonic()
    request: object  # decoded; None when it cannot be
    metadata: list  # [(key, value)]
    compressed: bool
    size_bytes: int  # of the request as it came
    timeout_s: float | None  # what the client gave it
    connection: str
    answer: Answer
    answered: bool = False  # False while it waits, and when the client did not wait for it
    waited: threading.Event = dataclasses.field(default_factory=threading.Event, repr=False)  # long enough

    def values(self, key):
        """All values of a metadata key."""
        return [value for name, value in self.metadata if name == key]


@dataclasses.dataclass
class Signal:
    """Traces or metrics: the protocol's own path and classes, and what a receiver knows of it."""
    path: str
    request: type
    response: type
    script: collections.deque = dataclasses.field(default_factory=collections.deque)
    default: Answer = TAKEN
    calls: list = dataclasses.field(default_factory=list)


def signals():
    """Fresh ones, by name."""
    return {
        "traces": Signal("/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                         trace_service_pb2.ExportTraceServiceRequest, trace_service_pb2.ExportTraceServiceResponse),
        "metrics": Signal("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
                          metrics_service_pb2.ExportMetricsServiceRequest,
                          metrics_service_pb2.ExportMetricsServiceResponse),
    }


def _retry_info(seconds):
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


class Receiver(grpc.GenericRpcHandler):
    """Listens on a free port. Any thread may call its methods.

    `server`: Pair of its certificate, for TLS. `client_ca`: path of a certificate; clients then need one that it
    signed. `max_bytes`: of a request as it comes; beyond that gRPC itself answers RESOURCE_EXHAUSTED.
    """

    def __init__(self, server=None, client_ca=None, max_bytes=4 << 20):
        self._signals = signals()
        self._paths = {signal.path: signal for signal in self._signals.values()}
        self._lock = threading.Lock()
        # gRPC does not tell whether a request was compressed, so it must not undo it.
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=[self], options=[
            ("grpc.per_message_decompression", 0), ("grpc.max_receive_message_length", max_bytes)])
        if server:
            authority = client_ca.read_bytes() if client_ca else None
            port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
                [(server.key.read_bytes(), server.certificate.read_bytes())], authority, authority is not None))
        else:
            port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._proxy = Proxy(port, has_frames=not server)
        self.port = self._proxy.port
        self.target = f"127.0.0.1:{self.port}"
        self.endpoint = f"{'https' if server else 'http'}://{self.target}"

    # --- what it is to do ---

    def script(self, signal, *answers):
        """The next calls of "traces" or "metrics" get these answers, in turn."""
        with self._lock:
            self._signals[signal].script.extend(answers)

    def always(self, signal, answer):
        """Calls without an answer in the script get this one."""
        with self._lock:
            self._signals[signal].default = answer

    def release(self):
        """Calls that have come are answered now."""
        for signal in self._signals:
            for call in self.calls(signal):
                call.waited.set()

    def leave(self):
        """As if its machine were gone: connections are reset, new ones refused."""
        self._proxy.leave()

    def come_back(self):
        """Listens on the same port again."""
        self._proxy.listen()

    def stop(self):
        self.release()
        self._proxy.leave()
        self._server.stop(0).wait(WAIT_S)

    # --- what it got ---

    @property
    def connections(self):
        """How many there have been."""
        return self._proxy.accepted

    def calls(self, signal):
        with self._lock:
            return list(self._signals[signal].calls)

    def wait_calls(self, signal, count):
        """Waits until there were at least so many calls, and returns all."""
        until(lambda: len(self.calls(signal)) >= count, f"{count} calls for {signal} have come")
        return self.calls(signal)

    def taken(self, signal):
        """The requests that were taken, in part or in whole, whatever the client made of the answer."""
        return [call.request for call in self.calls(signal) if call.answered and call.answer.status == "OK"]

    def spans(self):
        return otlp.spans(self.taken("traces"))

    def span_count(self):
        """Much cheaper than to look at them."""
        return otlp.span_count(self.taken("traces"))

    def metrics(self, name=None):
        """All of them, or those of a name."""
        return otlp.metrics(self.taken("metrics"), name)

    # --- serving ---

    def service(self, details):
        signal = self._paths.get(details.method)
        if signal is None:
            return None  # gRPC says UNIMPLEMENTED
        # Without serializers: bytes come, and bytes go.
        return grpc.unary_unary_rpc_method_handler(lambda data, context: self._serve(signal, data, context))

    def _record(self, signal, data, context):
        compressed = data.startswith(_GZIP)
        try:
            request = signal.request.FromString(gzip.decompress(data) if compressed else data)
        except (message.DecodeError, OSError, EOFError):
            request = None
        with self._lock:
            answer = UNREADABLE if request is None else signal.script.popleft() if signal.script else signal.default
            call = Call(time.monotonic(), request, [(item.key, item.value) for item in context.invocation_metadata()],
                        compressed, len(data), context.time_remaining(), context.peer(), answer)
            signal.calls.append(call)
        return call

    def _wait(self, call, context, seconds):
        """True when the time is over, or somebody said so, and the client still waits."""
        if context.add_callback(call.waited.set):
            call.waited.wait(seconds)
        return context.is_active()

    def _serve(self, signal, data, context):
        call = self._record(signal, data, context)
        answer = call.answer
        if answer.delay_s and not self._wait(call, context, answer.delay_s):
            return b""
        if answer.reset:
            self._reset(call, context)
            return b""
        call.answered = True
        if answer.status != "OK":
            self._refuse(context, answer)
        if answer.body is not None:
            return answer.body
        response = signal.response()
        if answer.rejected is not None:
            partial = response.partial_success
            partial.error_message = answer.rejected_message
            if signal is self._signals["traces"]:
                partial.rejected_spans = answer.rejected
            else:
                partial.rejected_data_points = answer.rejected
        return response.SerializeToString()

    def _reset(self, call, context):
        connection = self._proxy.find(int(context.peer().rpartition(":")[2]))
        if call.answer.reset == "connection":
            connection.order(connection.reset)
        else:
            connection.order(connection.reset_stream, call.answer.reset_code)
        # Were this call to end now, its answer could be there before the reset.
        call.waited.clear()
        self._wait(call, context, WAIT_S)

    def _refuse(self, context, answer):
        code = grpc.StatusCode[answer.status]
        if answer.retry_s is not None:
            info = _retry_info(answer.retry_s)
            if answer.retry_trailer == DETAILS:
                packed = any_pb2.Any()
                packed.Pack(info)
                info = status_pb2.Status(code=code.value[0], message=answer.message, details=[packed])
            context.set_trailing_metadata([(answer.retry_trailer, info.SerializeToString())])
        context.abort(code, answer.message)
