// Conform records what lines of NDJSON say, through the public API of package dwell.
//
//		go run ./internal/conform -encode < records.ndjson     # prints the frame they make, in hex
//		go run ./internal/conform < records.ndjson             # sends them to the daemon in $DWELL_DIR
//
//	 1. Each line is read as a tree that keeps the order of its keys: proto/WIRE.md, "NDJSON".
//	 2. record (record.go) makes one call of it.
//	 3. With -encode the bytes come by a hook that takes the place of the daemon: client_id 000102…0f,
//	    first_sequence 0, dropped 0. Records of more than 64 kB in all make several frames.
//	 4. Without it the client is flushed and closed.
//
// A line that is no such record, or a flush or close that the daemon did not confirm: a message and
// status 1. A hello names the service; flush and goodbye lines are the client's own business and skipped.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"time"

	dwell "github.com/dwell/dwell/client/go"
	"github.com/dwell/dwell/client/go/internal/hook"
)

const (
	lineBytesMax = 1 << 20
	timeout      = 20 * time.Second
)

func main() {
	encode := flag.Bool("encode", false, "print the frame in hex, and send nothing")
	flag.Parse()
	if err := run(*encode); err != nil {
		fmt.Fprintln(os.Stderr, "conform:", err)
		os.Exit(1)
	}
}

func run(encode bool) error {
	lines, err := read()
	if err != nil {
		return err
	}
	if encode {
		tap := &hook.Tap{Frame: func(frame []byte) { fmt.Print(hex.EncodeToString(frame)) }}
		for i := range tap.ClientID {
			tap.ClientID[i] = byte(i)
		}
		hook.Give(tap)
	}
	options := dwell.Options{Evidence: dwell.EvidenceNone}
	for _, line := range lines {
		if line.text("type") == "hello" {
			options.ServiceName = line.text("service_name")
			options.ServiceVersion = line.text("service_version")
			options.ConstitutionalHash = line.text("constitutional_hash")
		}
	}
	client := dwell.Open(options)
	for number, line := range lines {
		if err := record(client, line); err != nil {
			return fmt.Errorf("line %d: %w", number+1, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if encode {
		fmt.Println()
	}
	return client.Close(ctx)
}

func read() (lines []*node, err error) {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, lineBytesMax)
	for scanner.Scan() {
		if len(scanner.Bytes()) == 0 {
			continue
		}
		line, err := parse(scanner.Bytes())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(lines)+1, err)
		}
		lines = append(lines, line)
	}
	return lines, scanner.Err()
}
