package broker

import (
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// losses are the connections that were lost of late.
type losses struct {
	mu    sync.Mutex
	total int
	last  []loss // the latest ones
}

type loss struct {
	at  time.Time
	why string
}

const (
	// lossesKept is how many are remembered, lossesWindow how long they count as one
	// trouble, and lossesTold how many of them are one.
	lossesKept   = 32
	lossesWindow = 10 * time.Minute
	lossesTold   = 3
)

func (l *losses) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	now := time.Now()
	if l.last = append(l.last, loss{now, err.Error()}); len(l.last) > lossesKept {
		l.last = l.last[1:]
	}
}

// recent tells of those within lossesWindow, and whether they are so many that people
// should know.
func (l *losses) recent(now time.Time) (lost wire.ConnectionLosses, often bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.last {
		if now.Sub(x.at) > lossesWindow {
			continue
		}
		if lost.Count == 0 {
			lost.Since = x.at
		}
		lost.Count++
		lost.Last, lost.Reason = x.at, wire.Clip(x.why, wire.MaxStatusError)
	}
	return lost, lost.Count >= lossesTold
}

func (l *losses) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
