"""What the Python SDK's TraceIdRatioBased says about trace ids, for the daemon to agree with.

It takes the 64 low bits of the id, the last 8 bytes big-endian, and samples when they are less than
round(rate × 2^64): the double times 2^64, which is exact, rounded half to even.
"""
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

RATES = (0.0, 1e-9, 0.1, 0.25, 1 / 3, 0.5, 0.999999, 1.0)

# Half of an id more than 0, 1, 2, 3: they round to 0, 2, 2, 4.
TIES = tuple((half + 0.5) / 2 ** 64 for half in range(4))

_LOW = 2 ** 64


def bound(rate):
    """Ids whose low half is below this are sampled: 0 to 2^64."""
    return TraceIdRatioBased(rate).bound


def verdicts(rate, ids):
    """[True when the SDK samples it]; ids are numbers of 128 bits."""
    sampler = TraceIdRatioBased(rate)
    return [sampler.should_sample(None, trace_id, "span").decision is Decision.RECORD_AND_SAMPLE for trace_id in ids]


def random_ids(random, count):
    """Ids from an instance of random.Random; never 0, which is no trace id."""
    return [random.randrange(1, 2 ** 128) for _ in range(count)]


def edge_ids(random, rate):
    """Ids just below, at and above the bound, and at the ends, under several high halves."""
    lows = {low for edge in (0, bound(rate), _LOW) for low in (edge - 2, edge - 1, edge, edge + 1) if 0 <= low < _LOW}
    highs = (0, 1, _LOW - 1, random.randrange(_LOW))
    return [trace_id for high in highs for low in sorted(lows) if (trace_id := high * _LOW + low)]


def hexadecimal(trace_id):
    """As a record has it."""
    return f"{trace_id:032x}"
