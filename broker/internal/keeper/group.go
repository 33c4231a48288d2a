package keeper

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
)

const lookForQueues = time.Minute

// KeepGroup runs a Keeper for each half queue of o.Group and for each further one that
// exists.
func KeepGroup(ctx context.Context, h Host, o Options) error {
	if o.Queue != 0 {
		return fmt.Errorf("%w: KeeperOptions.Queue is %d: KeepGroup keeps all half queues; use Keep for one",
			holdfast.ErrInvalid, o.Queue)
	}
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	k := &groupKeeper{h: h, o: o, group: group, kept: map[int]bool{}}
	k.keep(ctx, h.Client.Halves)
	group.Go(func() error {
		for {
			names, err := h.Client.FindHalfQueues(ctx, o.Group)
			if err != nil && ctx.Err() == nil {
				h.Client.Log.Warn("further half queues are looked for later", "group", o.Group, "error", err)
			}
			k.keep(ctx, len(names))
			if !link.Sleep(ctx, cmp.Or(h.LookForQueues, lookForQueues)) {
				return nil
			}
		}
	})
	return group.Wait()
}

// groupKeeper has the Keepers of a group.
type groupKeeper struct {
	h     Host
	o     Options
	group *errgroup.Group

	mu   sync.Mutex
	kept map[int]bool
}

// keep starts the Keepers of the first n half queues that do not run.
func (k *groupKeeper) keep(ctx context.Context, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := 1; i <= n; i++ {
		if k.kept[i] {
			continue
		}
		k.kept[i] = true
		o := k.o
		o.Queue = i
		o.HeldBytes = max(o.HeldBytes/k.h.Client.Halves, minHeldBytes)
		k.group.Go(func() error {
			err := Keep(ctx, k.h, o)
			k.mu.Lock()
			defer k.mu.Unlock()
			delete(k.kept, i)
			return err
		})
	}
}
