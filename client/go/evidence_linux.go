package dwell

// Readings from the kernel. Raw system calls: the scheduler need not hear of calls that do not wait.

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	rusageThread        = 1
	clockProcessCPUTime = 2
	clockThreadCPUTime  = 3
	diskBlockBytes      = 512 // what getrusage counts in, whatever the disk has
	bytesPerMiB         = 1 << 20
	procTextBytes       = 128 // more than the two numbers that are read
)

var pageBytes = float64(os.Getpagesize())

// take reads where the thread stands. False: the kernel does not say.
func (r *reading) take(evidence Evidence) bool {
	r.full = evidence == EvidenceFull
	if r.full {
		runtime.LockOSThread() // reading files may move us
		defer runtime.UnlockOSThread()
	}
	r.runqueueKnown, r.memoryKnown = false, false
	thread, _, failed := syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
	if failed != 0 {
		return false
	}
	r.thread = int(thread)
	// The clock of the thread comes first: reading it brings up to date what the others show.
	var usage syscall.Rusage
	known := clock(clockThreadCPUTime, &r.cpu)
	if r.full {
		known = clock(clockProcessCPUTime, &r.process) && known
	}
	_, _, failed = syscall.RawSyscall(syscall.SYS_GETRUSAGE, rusageThread,
		uintptr(unsafe.Pointer(&usage)), 0)
	if failed != 0 || !known {
		return false
	}
	r.user = usage.Utime.Nano() / 1e3
	r.system = usage.Stime.Nano() / 1e3
	r.minor = int64(usage.Minflt)
	r.major = int64(usage.Majflt)
	r.voluntary = int64(usage.Nvcsw)
	r.involuntary = int64(usage.Nivcsw)
	r.disk = (int64(usage.Inblock) + int64(usage.Oublock)) * diskBlockBytes
	if r.full {
		var pages int64
		r.runqueueKnown = secondNumber("/proc/thread-self/schedstat", &r.runqueue)
		r.memoryKnown = secondNumber("/proc/self/statm", &pages)
		r.memory = float64(pages) * pageBytes / bytesPerMiB
	}
	return true
}

func clock(which uintptr, ns *int64) bool {
	var now syscall.Timespec
	_, _, failed := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, which, uintptr(unsafe.Pointer(&now)), 0)
	*ns = now.Nano()
	return failed == 0
}

// secondNumber reads the second number of a file of /proc.
func secondNumber(path string, number *int64) bool {
	file, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(file)
	var text [procTextBytes]byte
	count, err := syscall.Read(file, text[:])
	if err != nil || count <= 0 {
		return false
	}
	_, rest, found := bytes.Cut(text[:count], []byte(" "))
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	value, err := strconv.ParseInt(string(digits), 10, 64)
	*number = value
	return found && err == nil
}
