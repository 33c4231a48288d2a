package stack

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// stillEvery is how often a long step says that it is still going.
const stillEvery = 15 * time.Second

// progress writes one line per event, prefixed with the part's name.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out}
}

// line prints one line about a part.
func (p *progress) line(part, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "%-12s %s\n", part, fmt.Sprintf(format, args...))
}

// long announces a step that may take long, and says every [stillEvery] that it
// is still going until the returned function is called.
func (p *progress) long(part, what string) (stop func()) {
	p.line(part, "%s …", what)
	return p.still(part, what)
}

// still is long without the announcement.
func (p *progress) still(part, what string) (stop func()) {
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
				p.line(part, "still %s (%s)", what, seconds(time.Since(begun)))
			}
		}
	})
	var once sync.Once
	return func() { once.Do(func() { close(done); wg.Wait() }) }
}

// seconds renders a duration as a user reads it.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
