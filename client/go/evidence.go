package dwell

// What an inference used, beside its time.
//
// A reading is of the thread that runs it. Goroutines move between threads, and threads between
// goroutines, so it is right only of a goroutine that kept its thread to itself:
//
//   - One that was moved is seen by the number of the thread, and the reading is left out.
//   - One that waited (for a channel, a lock, the network) while its thread ran others, and came back to
//     the same thread, is not seen: what they used counts as its own, up to the time of the inference.
//   - What other goroutines or threads did for the inference is not in it; EvidenceFull has the CPU time
//     of the whole process beside it.
//
// A goroutine that called runtime.LockOSThread, and one that computes or is in a call of cgo, has its
// thread to itself. Where inferences mostly wait for other goroutines, take EvidenceNone.

// Evidence is what an inference is asked for besides its time. Readings cost a few microseconds, and are
// taken only as often as Options.EvidencePercent allows by what they were seen to cost. The samples of
// other inferences are as short as with EvidenceNone.
type Evidence int

const (
	// EvidenceDefault is EvidenceCPU.
	EvidenceDefault Evidence = iota
	// EvidenceNone is nothing: no CPU figure, so that the daemon's verdict stays unknown.
	EvidenceNone
	// EvidenceCPU is, of the thread: user and system time, page faults, switches of both kinds, and
	// bytes read from and written to disks. Linux only; elsewhere it is nothing.
	EvidenceCPU
	// EvidenceFull is also how long it waited for a CPU, what CPU time all threads of the process used
	// meanwhile, and the memory of the process.
	EvidenceFull
)

// reading is where the counters of a thread stand.
type reading struct {
	begun  int64 // before the reading was taken, by the client's clock
	thread int

	cpu         int64 // ns, by the clock of the thread
	process     int64 // ns, of all threads
	user        int64 // µs
	system      int64 // µs
	minor       int64
	major       int64
	voluntary   int64
	involuntary int64
	disk        int64 // bytes
	runqueue    int64 // ns
	memory      float64

	full          bool
	runqueueKnown bool
	memoryKnown   bool
}

// sayInto puts what was used since before into a sample that took so many ns, more than 0.
func (r *reading) sayInto(sample *Sample, before *reading, taken, bias int64) {
	// One thread cannot have used more than the time there was: the clocks are read one after the other.
	cpu := min(grown(before.cpu+bias, r.cpu), taken)
	user, system := float64(grown(before.user, r.user)), float64(grown(before.system, r.system))
	share := 0.0
	if user+system > 0 {
		share = system / (user + system)
	}
	// The clock of the thread is exact, the kernel's split into user and system is in microseconds: the
	// split is taken, its sum is not.
	ms := float64(cpu) / 1e6
	sample.CPUPercentDuring = Num(100 * float64(cpu) / float64(taken))
	sample.UserMS, sample.SystemMS = Num(ms*(1-share)), Num(ms*share)
	sample.MinorFaults = Num(float64(grown(before.minor, r.minor)))
	sample.MajorFaults = Num(float64(grown(before.major, r.major)))
	sample.VoluntarySwitches = Num(float64(grown(before.voluntary, r.voluntary)))
	sample.InvoluntarySwitches = Num(float64(grown(before.involuntary, r.involuntary)))
	sample.DiskBytes = Num(float64(grown(before.disk, r.disk)))
	sample.ThreadID = uint64(r.thread)
	if before.runqueueKnown && r.runqueueKnown {
		sample.RunqueueMS = Num(float64(min(grown(before.runqueue, r.runqueue), taken-cpu)) / 1e6)
	}
	if r.full {
		sample.ProcessCPUMS = Num(float64(max(cpu, grown(before.process+bias, r.process))) / 1e6)
	}
	if r.memoryKnown {
		sample.MemoryMBAfter = Num(r.memory)
	}
}

func grown(before, after int64) int64 {
	return max(0, after-before)
}
