// Package progress prints the lines that a user sees while a stack comes up.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// stillEvery is how often a long step says that it is still going.
const stillEvery = 15 * time.Second

// Writer writes one line per event, prefixed with the part's name.
type Writer struct {
	mu     sync.Mutex
	out    io.Writer
	screen io.Writer // nil: out is no terminal
	live   string    // what the screen's last line shows of a task
}

func New(out io.Writer) *Writer {
	if out == nil {
		out = io.Discard
	}
	return &Writer{out: out}
}

// Line prints one line about a part.
func (p *Writer) Line(part, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	defer p.draw()
	_, _ = fmt.Fprintf(p.out, "%-12s %s\n", part, fmt.Sprintf(format, args...))
}

// Long announces a step that may take long, and says every [stillEvery] that it
// is still going until the returned function is called.
func (p *Writer) Long(part, what string) (stop func()) {
	p.Line(part, "%s …", what)
	return p.Still(part, what)
}

// Still is long without the announcement.
func (p *Writer) Still(part, what string) (stop func()) {
	begun := time.Now()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(stillEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.Line(part, "still %s (%s)", what, Seconds(time.Since(begun)))
			}
		}
	})
	var once sync.Once
	return func() { once.Do(func() { close(done); wg.Wait() }) }
}

// Seconds renders a duration as a user reads it.
func Seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
