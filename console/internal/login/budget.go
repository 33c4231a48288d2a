package login

import (
	"sync"
	"time"
)

// maxKeys is how many keys a Budget tells apart; what comes beyond shares one.
const maxKeys = 1000

// Budget bounds how often something happens for each key, within a window that begins when it
// first does.
type Budget struct {
	now   func() time.Time
	most  int
	lasts time.Duration

	mu    sync.Mutex
	byKey map[string]*window
}

// NewBudget returns a budget of so many in each window, by a clock.
func NewBudget(now func() time.Time, most int, lasts time.Duration) *Budget {
	return &Budget{now: now, most: most, lasts: lasts, byKey: map[string]*window{}}
}

// Take takes one of what key may have. over is 0 if there was one left, else how many came in
// vain since the window began. before is how many came in vain in the window before, where
// this one is the first of a new one.
func (b *Budget) Take(key string) (over, before int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	w := b.of(key, now)
	if now.Sub(w.began) >= b.lasts {
		before = max(0, w.tries-b.most)
		*w = window{began: now}
	}
	w.tries++
	return max(0, w.tries-b.most), before
}

// of returns the key's window.
func (b *Budget) of(key string, now time.Time) *window {
	if w := b.byKey[key]; w != nil {
		return w
	}
	if len(b.byKey) >= maxKeys {
		for other, w := range b.byKey {
			if now.Sub(w.began) >= b.lasts {
				delete(b.byKey, other)
			}
		}
	}
	if len(b.byKey) >= maxKeys {
		key = ""
	}
	if b.byKey[key] == nil {
		b.byKey[key] = &window{began: now}
	}
	return b.byKey[key]
}
