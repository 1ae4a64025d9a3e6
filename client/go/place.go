package dwell

// Where the daemon's socket is: proto/WIRE.md, "Sockets".

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const socketName = "ingest.sock"

type place struct {
	path    string
	private bool // anybody could have made its directory
}

// places gives the sockets that may be the daemon's, best first. A directory that was named is the only
// one. The others are looked at again each time: the daemon may be there only now.
func places(named string) []place {
	if named == "" {
		named = os.Getenv("DWELL_DIR")
	}
	if named != "" {
		return []place{{path: filepath.Join(named, socketName)}}
	}
	var all []place
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); runtime != "" {
		all = append(all, place{path: filepath.Join(runtime, "dwell", socketName)})
	}
	own := filepath.Join("/tmp", "dwell-"+strconv.Itoa(os.Geteuid()), socketName)
	return append(all, place{path: "/run/dwell/" + socketName}, place{path: own, private: true})
}

// isThere says whether something is at the place. One below /tmp counts only if its directory is the
// user's own and no link.
func (p place) isThere() bool {
	if p.private {
		directory, err := os.Lstat(filepath.Dir(p.path))
		if err != nil || !directory.IsDir() {
			return false
		}
		status, known := directory.Sys().(*syscall.Stat_t)
		if !known || int(status.Uid) != os.Geteuid() {
			return false
		}
	}
	_, err := os.Lstat(p.path)
	return err == nil
}
