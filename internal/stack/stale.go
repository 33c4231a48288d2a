package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/install"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

const (
	bookFile = "state.json"
	// leftoverGrace is how long what a dead owner left may take to end in good
	// order before it is killed.
	leftoverGrace = 10 * time.Second
)

// bookEntries is the state file: what was started, by whom.
type bookEntries struct {
	Owner     int                    `json:"owner"` // PID
	Boot      string                 `json:"boot"`  // a later boot has other processes
	Processes map[string][]bookEntry `json:"processes"`
	// Outside lists folders of this stack that are not in its data folder.
	Outside []string `json:"outside,omitempty"`
}

// bookEntry names one process so that it cannot be mistaken for another one
// that got the same PID later.
type bookEntry struct {
	Label   string         `json:"label"`
	PID     int            `json:"pid"`
	Started string         `json:"started"`
	Stop    syscall.Signal `json:"stop"`
}

// book keeps the state file up to date.
type book struct {
	mu      sync.Mutex
	path    string
	entries bookEntries
}

func newBook(path string) (*book, error) {
	b := &book{path: path, entries: bookEntries{
		Owner: os.Getpid(), Boot: bootID(), Processes: map[string][]bookEntry{},
	}}
	return b, b.write()
}

// set records the processes of a part. That the file cannot be written is no
// reason to stop anything: it only matters if this process is killed too.
func (b *book) set(part string, procs []*process.Process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]bookEntry, 0, len(procs))
	for _, p := range procs {
		list = append(list, bookEntry{p.Label, p.PID, p.Started, p.StopSignal})
	}
	b.entries.Processes[part] = list
	_ = b.write()
}

// outside records a folder that belongs to the stack.
func (b *book) outside(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries.Outside = append(b.entries.Outside, dir)
	return b.write()
}

// removeOutside removes the recorded folders.
func (b *book) removeOutside() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, dir := range b.entries.Outside {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

func (b *book) write() error {
	text, err := json.MarshalIndent(b.entries, "", "  ")
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	return writeFile(b.path, text, 0o600)
}

func readBook(path string) bookEntries {
	var e bookEntries
	if text, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(text, &e)
	}
	return e
}

// bootID tells one boot of the machine from the next; empty where unknown.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// stopLeftovers stops what the last owner of the folder left running. The caller
// holds the folder's lock, so that owner is dead.
func stopLeftovers(f *folder, out *progress.Writer) error {
	e := readBook(f.join(bookFile))
	if e.Boot != bootID() {
		return nil
	}
	var errs []error
	for part, list := range e.Processes {
		for i := len(list) - 1; i >= 0; i-- {
			l := list[i]
			if !process.Running(l.PID, l.Started) {
				continue
			}
			out.Line(part, "stopping what an earlier run left behind (%s, PID %d)", l.Label, l.PID)
			below := process.Descendants(l.PID)
			if err := process.Signal(l.PID, l.Stop); err != nil {
				errs = append(errs, err)
				continue
			}
			if !process.AwaitGone(l.PID, l.Started, leftoverGrace) {
				errs = append(errs, process.KillTree(l.PID))
			}
			errs = append(errs, process.KillAll(below))
			if !process.AwaitGone(l.PID, l.Started, process.KillWait) {
				errs = append(errs, fmt.Errorf("%s of an earlier run (PID %d) does not end", l.Label, l.PID))
			}
		}
	}
	return errors.Join(errs...)
}

// sweep removes temporary stacks whose owner died without closing them, a killed
// test binary say.
func sweep(out *progress.Writer) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || !process.OwnedByUs(info) || !install.IsFile(filepath.Join(dir, bookFile)) {
			continue // not ours, or so new that it has no state yet
		}
		lock, err := process.TryLock(filepath.Join(dir, "lock"))
		if err != nil {
			continue // its owner lives
		}
		f := &folder{path: dir, temporary: true, lock: lock}
		outside := readBook(f.join(bookFile)).Outside
		if err := stopLeftovers(f, out); err != nil {
			out.Line("Sweep", "%s: %v", dir, err)
			lock.Release()
			continue
		}
		for _, d := range outside {
			_ = os.RemoveAll(d)
		}
		if err := f.close(); err != nil {
			out.Line("Sweep", "%s cannot be removed: %v", dir, err)
		}
	}
}
