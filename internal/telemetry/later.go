package telemetry

import (
	"sync"
	"time"
)

// maxLater bounds the spans that wait to be made. Those beyond it are not made: the exporter
// is stuck.
const maxLater = 1000

// flushTimeout bounds how long [Tracer.Flush] waits.
const flushTimeout = time.Second

// later makes spans one after the other, in a goroutine that is there while there are any.
// The zero value is ready.
type later struct {
	mu      sync.Mutex
	waiting []func()
	idle    chan struct{} // closed when there are no more; nil: there are none
}

// do has f run soon, and returns at once.
func (l *later) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxLater {
		return
	}
	l.waiting = append(l.waiting, f)
	if l.idle == nil {
		l.idle = make(chan struct{})
		go l.run()
	}
}

func (l *later) run() {
	for f := l.next(); f != nil; f = l.next() {
		guarded(f)
	}
}

// next takes the oldest one; nil: there is none, and the goroutine ends.
func (l *later) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		close(l.idle)
		l.waiting, l.idle = nil, nil
		return nil
	}
	f := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return f
}

// Flush waits until the spans are made that somebody did not wait for, a second at most.
func (t *Tracer) Flush() {
	if t == nil {
		return
	}
	t.later.mu.Lock()
	idle := t.later.idle
	t.later.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-time.After(flushTimeout):
	}
}
