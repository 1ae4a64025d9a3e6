"""What became of every record of a run, by truth and not by the daemon's words: pure arithmetic.

Each batch has a series of its own, so what the last daemon shows for it is 0, all of it, or tells something:

    shown for a batch    it was written to        and then
    all of it            any daemon               good
    more                 any daemon               the rest is counted twice
    less                 the last daemon          gone: rejected or lost, and its ledger must say the same
    less                 an earlier one, which    forgotten: it counted, and went with that daemon's memory
                         had confirmed it
    less                 an earlier one           lost: nobody can tell any more

    sent = counted + dropped by the client + rejected + lost + forgotten
"""
import collections

# One batch that was written, or begun: `life` is the process that it was written to, `records` how many of
# its records count in its series, `samples` how many in its client's model.
Batch = collections.namedtuple("Batch", "client number life records samples confirmed")

# What the last daemon shows: {(client, number): value}, {client: value}, and its ledger.
Shown = collections.namedtuple("Shown", "life series models ledger")

Figures = collections.namedtuple("Figures", "sent counted dropped rejected lost twice forgotten told")


def _of_batches(batches, shown):
    """(twice, gone, lost, forgotten) in records with a series of their own."""
    twice = gone = lost = forgotten = 0
    for batch in batches:
        difference = shown.series.get((batch.client, batch.number), 0) - batch.records
        twice += max(0, difference)
        missing = max(0, -difference)
        if batch.life == shown.life:
            gone += missing
        elif batch.confirmed:
            forgotten += missing
        else:
            lost += missing
    return twice, gone, lost, forgotten


def _of_samples(batches, shown):
    """The same for samples, of which only the sum of each client is known. What an earlier daemon had is there
    when the series of its batch is."""
    twice = gone = lost = forgotten = 0
    expected = collections.Counter()
    for batch in batches:
        if batch.life == shown.life or shown.series.get((batch.client, batch.number), 0) > 0:
            expected[batch.client] += batch.samples
        elif batch.confirmed:
            forgotten += batch.samples
        else:
            lost += batch.samples
    for client in {*expected, *shown.models}:
        difference = shown.models.get(client, 0) - expected[client]
        twice += max(0, difference)
        gone += max(0, -difference)
    return twice, gone, lost, forgotten


def figures(batches, dropped, shown):
    """`dropped`: calls that clients gave up. Raises AssertionError where the daemon's ledger is not the truth."""
    unknown = set(shown.series) - {(batch.client, batch.number) for batch in batches}
    assert not unknown, f"nobody has sent {sorted(unknown)[:3]}"
    twice, gone, lost, forgotten = (a + b for a, b in zip(_of_batches(batches, shown), _of_samples(batches, shown)))
    ledger = shown.ledger
    rejected, told = sum(ledger["rejected"].values()), ledger["lost"]
    counted = sum(shown.series.values()) + sum(shown.models.values())
    assert ledger["sent"] == ledger["accepted"] + rejected + ledger["dropped"] + told, ledger
    assert ledger["dropped"] == dropped, f"{dropped} dropped, the ledger says {ledger}"
    assert rejected + told == gone, f"{gone} are gone, the ledger says {ledger}"
    sent = sum(batch.records + batch.samples for batch in batches) + dropped
    found = Figures(sent=sent, counted=counted - twice, dropped=dropped, rejected=rejected, lost=lost + told, twice=twice,
                    forgotten=forgotten, told=told)
    assert found.sent == found.counted + found.dropped + found.rejected + found.lost + found.forgotten, found
    return found
