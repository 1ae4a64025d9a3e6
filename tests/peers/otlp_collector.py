"""What the OpenTelemetry Collector got, in the classes of the official opentelemetry-proto package."""
import otlp
from collector_process import CollectorProcess
from harness import until
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData


class Collector(CollectorProcess):
    """One that runs, and can be asked what it has."""

    def __init__(self, *arguments, **options):
        self._messages = {"traces": [], "metrics": []}
        self._read_up_to = {}  # bytes of each file
        super().__init__(*arguments, **options)

    def _read(self, signal, message):
        """The messages of all starts, in their order. Each line is read once, however often somebody asks."""
        for path in self.files(signal):
            with open(path, "rb") as file:
                file.seek(self._read_up_to.get(path, 0))
                *whole, rest = file.read().split(b"\n")
                self._read_up_to[path] = file.tell() - len(rest)
            self._messages[signal] += [otlp.read_json_line(line, message()) for line in whole]
        return list(self._messages[signal])

    def trace_messages(self):
        """A TracesData for each request."""
        return self._read("traces", TracesData)

    def metric_messages(self):
        """A MetricsData for each request."""
        return self._read("metrics", MetricsData)

    def spans(self):
        """All spans so far, as otlp.spans has them."""
        return otlp.spans(self.trace_messages())

    def span_count(self):
        """How many spans there are so far; much cheaper than to look at them."""
        return otlp.span_count(self.trace_messages())

    def metrics(self, name=None):
        """All metrics so far, or those of a name, as otlp.metrics has them; one that was sent again is there again."""
        return otlp.metrics(self.metric_messages(), name)

    def wait_spans(self, count):
        """Waits until there are at least so many spans, and returns all."""
        until(lambda: self.span_count() >= count, f"{count} spans are at the Collector")
        return self.spans()

    def wait_metric(self, name):
        """Waits for a metric of this name, and returns the one that came last."""
        until(lambda: self.metrics(name), f"{name} is at the Collector")
        return self.metrics(name)[-1]
