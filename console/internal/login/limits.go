package login

import (
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/workflows"
)

const (
	// nameTries are how many times a source may fail for one name within nameWindow.
	nameTries  = 5
	nameWindow = 5 * time.Minute
	// sourceTries are how many tries a source may have for all names within wholeWindow,
	// wholeTries how many all sources together.
	sourceTries = 20
	wholeTries  = 300
	wholeWindow = time.Minute
	// atOnce is how many passwords are compared at the same time: it takes processor
	// time.
	atOnce = 2
)

// Limits bound how often somebody may try to log in: for each name and in whole, by where he
// comes from, so that he keeps nobody else out.
type Limits struct {
	now   func() time.Time
	slots chan struct{}

	mu      sync.Mutex
	whole   window
	sources map[string]*window
	names   map[of]*window
}

// of is a name that a source tries.
type of struct{ source, name string }

// window counts tries from its beginning on.
type window struct {
	began time.Time
	tries int
}

// NewLimits returns limits by a clock.
func NewLimits(now func() time.Time) *Limits {
	return &Limits{now: now, slots: make(chan struct{}, atOnce), sources: map[string]*window{}, names: map[of]*window{}}
}

// Begin counts a try, before it is known how it ends. If there were too many, wait is how
// long it is until the next one may be. Else end has to be called after the comparison.
//
// A name that is too long for anybody's is not kept.
func (l *Limits) Begin(source, name string) (end func(good bool), wait time.Duration) {
	if len(name) > workflows.MaxOperator {
		name = ""
	}
	if wait = l.count(source, name); wait > 0 {
		return nil, wait
	}
	l.slots <- struct{}{}
	return func(good bool) {
		<-l.slots
		if good {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.names, of{source, name})
		}
	}, 0
}

func (l *Limits) count(source, name string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	// They are few: wholeTries bounds how many come.
	forget(l.names, now, nameWindow)
	forget(l.sources, now, wholeWindow)
	if now.Sub(l.whole.began) >= wholeWindow {
		l.whole = window{began: now}
	}
	bySource, byName := open(l.sources, source, now), open(l.names, of{source, name}, now)
	wait = max(byName.wait(now, nameTries, nameWindow), bySource.wait(now, sourceTries, wholeWindow),
		l.whole.wait(now, wholeTries, wholeWindow))
	if wait > 0 {
		return wait
	}
	l.sources[source], l.names[of{source, name}] = bySource, byName
	for _, w := range []*window{&l.whole, bySource, byName} {
		w.tries++
	}
	return 0
}

// wait is how long it is until there may be one more.
func (w *window) wait(now time.Time, most int, lasts time.Duration) time.Duration {
	if w.tries < most {
		return 0
	}
	return w.began.Add(lasts).Sub(now)
}

// open returns the window of a key, or one that begins now.
func open[K comparable](all map[K]*window, key K, now time.Time) *window {
	if w := all[key]; w != nil {
		return w
	}
	return &window{began: now}
}

// forget leaves out the windows that are over.
func forget[K comparable](all map[K]*window, now time.Time, lasts time.Duration) {
	for key, w := range all {
		if now.Sub(w.began) >= lasts {
			delete(all, key)
		}
	}
}
