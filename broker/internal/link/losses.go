package link

import (
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Losses are the connections that were lost of late.
type Losses struct {
	mu    sync.Mutex
	total int
	last  []loss // the latest ones
}

type loss struct {
	at  time.Time
	why string
}

const (
	// LossesKept is how many are remembered, LossesWindow how long they count as one
	// trouble, and LossesTold how many of them are one.
	LossesKept   = 32
	LossesWindow = 10 * time.Minute
	LossesTold   = 3
)

func (l *Losses) Add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	now := time.Now()
	if l.last = append(l.last, loss{now, err.Error()}); len(l.last) > LossesKept {
		l.last = l.last[1:]
	}
}

// Recent tells of those within LossesWindow, and whether they are so many that people
// should know.
func (l *Losses) Recent(now time.Time) (lost wire.ConnectionLosses, often bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.last {
		if now.Sub(x.at) > LossesWindow {
			continue
		}
		if lost.Count == 0 {
			lost.Since = x.at
		}
		lost.Count++
		lost.Last, lost.Reason = x.at, wire.Clip(x.why, wire.MaxStatusError)
	}
	return lost, lost.Count >= LossesTold
}

func (l *Losses) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
