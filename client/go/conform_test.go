package dwell_test

// The conformance driver as others run it.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "conform")
	if said, err := exec.Command("go", "build", "-o", program,
		"./internal/conform").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return program
}

func encode(program, lines string) (string, error) {
	command := exec.Command(program, "-encode")
	command.Stdin = strings.NewReader(lines)
	said, err := command.Output()
	return strings.TrimSpace(string(said)), err
}

// examples are the lines of NDJSON in proto/WIRE.md.
func examples(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../proto/WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```ndjson\n")
	lines, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("proto/WIRE.md has no examples of NDJSON")
	}
	return lines
}

func TestConform(t *testing.T) {
	program := build(t)
	t.Run("encodes", func(t *testing.T) { encodes(t, program) })
	t.Run("takes all examples", func(t *testing.T) { takesAllExamples(t, program) })
	t.Run("refuses", func(t *testing.T) { refuses(t, program) })
}

func encodes(t *testing.T, program string) {
	got, err := encode(program, "{\"model_name\":\"m\",\"execution_time_ms\":12.5}\n"+
		`{"type":"counter","name":"n","value":1,"attributes":{"b":true,"a":7,"none":null}}`)
	const head = "0a10000102030405060708090a0b0c0d0e0f10001800"
	const want = "47000000" + head + "420c" + "0a016d" + "190000000000002940" +
		"7221" + "0a016e" + "1801" + "21000000000000f03f" + "2a090a01621a0474727565" + "2a060a01611a0137"
	if err != nil || got != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func takesAllExamples(t *testing.T, program string) {
	got, err := encode(program, examples(t))
	if err != nil {
		t.Fatal(err)
	}
	frame, err := hex.DecodeString(got)
	if err != nil || len(frame) < 4 || int(binary.LittleEndian.Uint32(frame)) != len(frame)-4 {
		t.Errorf("no frame: %v, %d bytes", err, len(frame))
	}
	for _, word := range []string{"resnet50", "out of memory", "http.requests", "queue.depth", "GET /v1",
		"layer3_policy"} {
		if !bytes.Contains(frame, []byte(word)) {
			t.Errorf("%q is not in it", word)
		}
	}
}

func refuses(t *testing.T, program string) {
	for _, line := range []string{`[]`, `{"type":"thing"}`, `{"model_name":"m","execution_time_ms":"x"}`,
		`{} {}`, `{`,
		`{"type":"span","name":"n","trace_id":"0af7"}`} {
		if got, err := encode(program, line); err == nil {
			t.Errorf("%s became %s", line, got)
		}
	}
}
