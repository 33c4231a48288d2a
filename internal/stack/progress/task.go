package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// redraw is how often the live line of a screen is written anew.
const redraw = 200 * time.Millisecond

// Screen makes w, which shows the same as the Writer's output and is a terminal, show the
// live line of a [Task]. Call it before anything is printed.
func (p *Writer) Screen(w io.Writer) { p.screen = w }

// Task is a long step that says how far it is: in one line that changes, on a screen, and
// else in a line every [stillEvery].
type Task struct {
	p          *Writer
	part, what string
	begun      time.Time
	mu         sync.Mutex
	at         string
	done       chan struct{}
	wg         sync.WaitGroup
	once       sync.Once
}

// Task announces a step, until its Stop.
func (p *Writer) Task(part, what string) *Task {
	p.Line(part, "%s …", what)
	t := &Task{p: p, part: part, what: what, begun: time.Now(), done: make(chan struct{})}
	every := stillEvery
	if p.screen != nil {
		every = redraw
	}
	t.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-t.done:
				return
			case <-tick.C:
				t.tell()
			}
		}
	})
	return t
}

// At says how far it is: "12 of 90 packages".
func (t *Task) At(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = fmt.Sprintf(format, args...)
}

// Took is how long it has taken.
func (t *Task) Took() time.Duration { return time.Since(t.begun) }

// Stop ends it. It may be called more than once.
func (t *Task) Stop() {
	t.once.Do(func() {
		close(t.done)
		t.wg.Wait()
		t.p.show("")
	})
}

func (t *Task) tell() {
	t.mu.Lock()
	at := t.at
	t.mu.Unlock()
	if t.p.screen == nil {
		if at != "" {
			at = ": " + at
		}
		t.p.Line(t.part, "still %s (%s)%s", t.what, Seconds(t.Took()), at)
		return
	}
	if at != "" {
		t.p.show(fmt.Sprintf("%-12s %s, %s", t.part, Seconds(t.Took()), at))
	}
}

// show makes text the live line; "" removes it.
func (p *Writer) show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.live = text
	p.draw()
}

// erase and draw are called with the lock; between them a line may be printed.
func (p *Writer) erase() {
	if p.live != "" && p.screen != nil {
		_, _ = io.WriteString(p.screen, "\r\x1b[K")
	}
}

func (p *Writer) draw() {
	if p.live != "" && p.screen != nil {
		_, _ = io.WriteString(p.screen, fitting(p.live, width(p.screen)))
	}
}

// width is how many columns w has.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// fitting is text without what steers a terminal, cut to fewer columns than there are: a
// line that is full would begin another one, which erase would leave.
func fitting(text string, columns int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
	for utf8.RuneCountInString(text) >= columns && text != "" {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
