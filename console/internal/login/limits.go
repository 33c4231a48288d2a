package login

import (
	"sync"
	"time"
)

const (
	// nameTries are how many times somebody may fail for one name within nameWindow.
	nameTries  = 5
	nameWindow = 5 * time.Minute
	// wholeTries are how many tries there may be for all names within wholeWindow.
	wholeTries  = 60
	wholeWindow = time.Minute
	// atOnce is how many passwords are compared at the same time: it takes processor
	// time.
	atOnce = 2
)

// Limits bound how often somebody may try to log in, for each name and in whole.
type Limits struct {
	now   func() time.Time
	slots chan struct{}

	mu    sync.Mutex
	whole window
	names map[string]*window
}

// window counts tries from its beginning on.
type window struct {
	began time.Time
	tries int
}

// NewLimits returns limits by a clock.
func NewLimits(now func() time.Time) *Limits {
	return &Limits{now: now, slots: make(chan struct{}, atOnce), names: map[string]*window{}}
}

// Begin counts a try, before it is known how it ends. If there were too many, wait is how
// long it is until the next one may be. Else end has to be called after the comparison.
func (l *Limits) Begin(name string) (end func(good bool), wait time.Duration) {
	if wait = l.count(name); wait > 0 {
		return nil, wait
	}
	l.slots <- struct{}{}
	return func(good bool) {
		<-l.slots
		if good {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.names, name)
		}
	}, 0
}

func (l *Limits) count(name string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for other, w := range l.names { // few: wholeTries bounds how many come
		if now.Sub(w.began) >= nameWindow {
			delete(l.names, other)
		}
	}
	if now.Sub(l.whole.began) >= wholeWindow {
		l.whole = window{began: now}
	}
	if l.whole.tries >= wholeTries {
		return l.whole.began.Add(wholeWindow).Sub(now)
	}
	of := l.names[name]
	if of == nil {
		of = &window{began: now}
		l.names[name] = of
	}
	if of.tries >= nameTries {
		return of.began.Add(nameWindow).Sub(now)
	}
	l.whole.tries++
	of.tries++
	return 0
}
