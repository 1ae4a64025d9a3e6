"""Who imports this waits for the daemon as long as tests do, and not as briefly as an application: what takes
milliseconds may take seconds on a machine that does something else."""
from dwell import _client, _query, benchmark, demo, exposition, profiler

WAIT_S = 60

_client.EXIT_S = WAIT_S
_client.Client.flush.__defaults__ = (WAIT_S,)
_query.TIMEOUT_S = WAIT_S
benchmark.FLUSH_S = demo.FIND_S = exposition.FLUSH_S = profiler.FLUSH_S = WAIT_S
