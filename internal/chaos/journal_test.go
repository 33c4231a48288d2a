package chaos

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"

	holdfast "github.com/holdfastmq/holdfast"
)

// entry is a line of a journal: that a call begins, or what its caller was told.
type entry struct {
	Ref string `json:"ref"`
	ID  string `json:"id,omitempty"` // chosen, or what the receipt says
	// Told is how the call ended; empty where it begins.
	Told string `json:"told,omitempty"`
	// Resolution is the receipt's.
	Resolution holdfast.Resolution `json:"resolution,omitempty"`
	// Ran says that the local transaction's function was called.
	Ran   bool   `json:"ran,omitempty"`
	Error string `json:"error,omitempty"`
}

// What callers are told.
const (
	toldCommitted  = "committed"
	toldPending    = "delivery pending"
	toldUndecided  = "undecided"
	toldRolledBack = "rolled back"
	toldDuplicate  = "duplicate"
	toldNothing    = "nothing was run"
	toldOther      = "something else"
)

// journal is a file that outlives the process: what is written is with the
// operating system when write returns.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{file: file}, nil
}

// write adds e. Its process must not go on without.
func (j *journal) write(e entry) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

// record is what a journal says of one call.
type record struct {
	Begun entry
	Ended *entry
}

// readJournal returns the calls of a journal, in the order of their beginning.
func readJournal(path string) (out []*record, err error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	known := map[string]*record{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if e.Told == "" {
			r := &record{Begun: e}
			known[e.Ref] = r
			out = append(out, r)
			continue
		}
		known[e.Ref].Ended = &e
	}
	return out, lines.Err()
}
