"""What goes wrong in production: a row for each fault, with what is stated of it.

    name       as the table of `make chaos` and the README have it
    apply      does it to a world (world.py), which is under load, and says when it is over
    stated     what the daemon and its clients make of it
    may        figures that may be above 0; all others of chaos.DUE are to be 0
    options    of the daemon that it is done to
    hindrance  why this machine cannot do it; None: it can
    client     of which kind the clients are

A fault asserts itself what is stated of it beyond the figures.
"""
import collections

import disk
import exporting
import limits
import logs
import peers
import processes
import storing
from client import Client
from keeper import Keeper

Fault = collections.namedtuple("Fault", "name apply stated may options hindrance client", defaults=(Client,))


def _row(name, apply, stated, may=(), options=lambda world: {}, hindrance=lambda: None, client=Client):
    return Fault(name, apply, stated, frozenset(may), options, hindrance, client)


FAULTS = (
    _row("kill -9, restart", processes.kill,
         "What the killed daemon had counted goes with its memory, and what it had not confirmed is lost; no client can tell "
         "more than that. Nothing is counted twice. Clients are back by themselves, and number on.",
         may=("lost", "forgotten")),
    _row("kill -9, acknowledged", processes.kill,
         "With a journal and a state file, clients that ask for acknowledgements send again what was not acknowledged. "
         "Nothing is lost, nothing forgotten, and nothing counted twice.",
         options=storing.journal_options, client=Keeper),
    _row("SIGTERM, restart", processes.terminate,
         "What was sent is applied before the end, or its sender is told that it was not. Counters begin anew.",
         may=("forgotten",)),
    _row("SIGTERM, restart, state", storing.restart,
         "With a state file everything goes on: no count begins anew, and clients are known by their numbers.",
         options=storing.options),
    _row("state file is damaged", storing.spoil_state,
         "It is set aside under another name, and the log says why; counters begin anew, and are saved again.",
         may=("forgotten",), options=storing.options),
    _row("no room for the state", storing.fill_disk,
         "A save fails and is counted, the last good file stays as it is; with room again the next save is good.",
         options=storing.small_disk, hindrance=disk.hindrance),
    _row("SIGSTOP", processes.pause,
         "Clients drop and count what their buffers do not hold, and never wait. After SIGCONT everything goes on."),
    _row("directory removed", processes.lose_directory,
         "Who is connected, and scrapes over TCP, go on; new clients find nothing until the daemon is started again, "
         "which makes the directory anew.", may=("forgotten",)),
    _row("client killed in a frame", peers.cut_frames,
         "The whole frames count, the cut one is lost and told, as soon as the same client is back: bad_frame.",
         may=("lost",)),
    _row("client sends garbage", peers.send_garbage,
         "Its connection ends and is counted: bad_frame, too_long or unknown_format. What came before counts."),
    _row("1,000 connects", peers.connect_often,
         "Each is accepted, or waits for its turn; afterwards no descriptor is left."),
    _row("scrapers never read", peers.stop_reading_answers,
         "Each holds its answer until http.timeout_ms is over. Nobody else waits for it."),
    _row("no descriptors", limits.exhaust_descriptors,
         "Who is connected goes on. Who is not waits in the queue, and is accepted within 100 ms of there being one."),
    _row("no memory", limits.exhaust_memory,
         "What needs memory that is not there is rejected and counted: out_of_memory. What is known goes on.",
         may=("rejected",), hindrance=limits.memory_hindrance),
    _row("clock a day ahead, back", limits.step_clock,
         "Windows, rates, deadlines and the uptime go by the monotonic clock, and do not move. Only what shows a date does.",
         options=limits.clock_options, hindrance=limits.clock_hindrance),
    _row("log is closed", logs.close,
         "Lines are lost. Nothing else changes."),
    _row("log is not read", logs.fill,
         "Lines that find no room are lost and counted, and the log says how many when there is room. The loop never waits."),
    _row("disk is full", exporting.fill_disk,
         "What the collector does not take waits in memory, and is tried again every 5 s. No half file stays.",
         options=exporting.small_disk, hindrance=exporting.disk_hindrance),
    _row("no file may grow", exporting.limit_files,
         "The same.", options=exporting.spool_options, hindrance=exporting.hindrance),
    _row("collector is killed", exporting.kill_collector,
         "Spans wait, and go out when it is back; a request whose answer was lost goes out again.",
         options=exporting.collector_options, hindrance=exporting.collector_hindrance),
)
