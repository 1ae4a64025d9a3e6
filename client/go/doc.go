// Package dwell tells the daemon dwelld what the inferences of this process cost, and what its
// requests, spans and time budgets did. It aggregates nothing and never gets in the way: without a
// daemon every call is still cheap and correct. Standard library only.
//
//	client := dwell.Open(dwell.Options{ServiceName: "ranker"})
//	defer client.Close(context.Background())
//	model := client.Model("resnet50")
//
//	track := model.Begin()
//	err := infer()
//	track.End(err)
//
// # What happens to a record
//
//  1. A call encodes one record into the buffer of a shard. There are as many shards as processors, and
//     a call takes the one that its processor used last, or else any that is free.
//  2. A goroutine of the library takes what all shards have, every 50 ms or when 64 kB wait, and puts it
//     in the order of the calls.
//  3. It writes batches of at most 64 kB to the daemon's socket.
//  4. It reads what the daemon answers to a flush.
//
// # What can fail
//
// No daemon: it is looked for again after 10 ms, then twice that, up to 5 s; what was recorded waits at
// most 10 s (Options.KeepFor), and is dropped and counted after that, and so is every call from then on
// until there is a daemon. A full buffer: the new record is dropped and counted. A batch that was
// written in part is sent again on the next connection, one that was written as a whole is not. Counts
// go out with the next batch; Client.Stats tells them, too.
//
// A process that ends without Close or Flush loses what still waits, 50 ms at most if there is a daemon.
//
// # Rules of the package
//
// All methods may be called by any number of goroutines at once, but for those of a Track, which belongs
// to one goroutine at a time. A nil Client, Model, Counter, Gauge, Histogram, Span or Budget is a no-op;
// only budgets are kept to without a client, too. With DWELL_DISABLED=1 in the environment Open returns
// nil. Nothing panics, and nothing is printed. Values are sent as they are given: the daemon judges
// them, and counts what it refuses under a reason. A record of more than 16 kB is dropped.
package dwell

// Version is that of the library, as the daemon's ledger shows it.
const Version = "0.1.0"

// DefaultHash is the constitutional hash that errors of budgets bear unless Options names another one.
const DefaultHash = "cdd01ef066bc6cf2"
