package audit

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// linesKept is how many entries a Lines shows.
const linesKept = 500

// Lines writes entries as lines of JSON.
type Lines struct {
	w   io.Writer
	now func() time.Time

	mu    sync.Mutex
	last  []Entry // the latest last
	count int64   // of all that were written
}

// NewLines returns a log that writes to w.
func NewLines(w io.Writer, now func() time.Time) *Lines { return &Lines{w: w, now: now} }

// Add implements Log.
func (l *Lines) Add(_ context.Context, e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e = e.kept()
	e.At = l.now()
	line, err := json.Marshal(map[string]any{"audit": e})
	if err != nil {
		return err
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return err
	}
	l.count++
	e.ID = l.count
	if l.last = append(l.last, e); len(l.last) > linesKept {
		l.last = l.last[1:]
	}
	return nil
}

// Last implements Log: those that this process has written.
func (l *Lines) Last(_ context.Context, n int, before int64) ([]Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Entry
	for i := len(l.last) - 1; i >= 0 && len(all) < n; i-- {
		if before == 0 || l.last[i].ID < before {
			all = append(all, l.last[i])
		}
	}
	return all, nil
}

// Where implements Log.
func (l *Lines) Where() string {
	return "No database is set (DATABASE_URL): entries go to the standard error of the console, and this page has " +
		"those of this process."
}
