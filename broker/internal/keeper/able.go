package keeper

import (
	"context"
	"time"
)

// A Keeper whose process cannot hand over tries again with growing pauses, and gives its
// place to another process that can: see [ErrYield]. One that begins says so, so that
// nobody waits for the longest pause.

// retryAble is when a Keeper that cannot hand over looks, after another one has begun.
const retryAble = time.Second

// sayAble tells the others that this Keeper has subscribed and can hand over.
func (k *keeper) sayAble(ctx context.Context) {
	if k.o.Unable != nil && k.o.Unable() == "" {
		k.Client.Calls.Spawn(func() { k.SayAble(ctx) })
	}
}

// another has what failed tried again soon, since another process may take it over.
func (t *tenure) another(now time.Time) {
	if t.o.Unable != nil && t.o.Unable() != "" {
		t.core.retry(now.Add(retryAble))
	}
}

// retry has the halves whose hand-over failed handed over at the time, if that is
// sooner, and their pauses begin anew.
func (c *keeperCore) retry(at time.Time) {
	if c.failed == 0 {
		return
	}
	for _, held := range c.order {
		if held.state != halfHeld || held.tries == 0 {
			continue
		}
		if held.tries = 1; at.Before(held.notBefore) {
			held.notBefore = at
		}
	}
}
