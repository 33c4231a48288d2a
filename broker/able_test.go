package broker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestAKeeperThatCanHandOverIsHeardOf: the Keepers of other processes are told, and
// nobody asks for consumers because of it; one that cannot says nothing.
func TestAKeeperThatCanHandOverIsHeardOf(t *testing.T) {
	t.Parallel()
	url, prefix := stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t)
	first := open(t, url, prefix, nil)
	heard := make(chan struct{}, 1)
	defer first.board.Listen(heard)()
	keep := func(b *Broker, group, unable string) (stop func()) {
		return background(t, func(ctx context.Context) error {
			return b.Keep(ctx, KeeperOptions{Group: group, Unable: func() string { return unable },
				HandOver: func(context.Context, []holdfast.Half) []error { return nil }})
		})
	}
	keep(first, "g", "it has no Temporal")
	answers(t, asker(t, prefix), func(ps []wire.ProcessStatus) bool { // it answers, so it hears
		return len(ps) == 1 && len(ps[0].Keepers) == 1 && ps[0].Keepers[0].Subscribed
	})
	require.Empty(t, heard)
	second := open(t, url, prefix, nil)
	for told := false; !told; { // what is told may be lost
		stop := keep(second, "g", "")
		select {
		case <-heard:
			told = true
		case <-time.After(10 * time.Second):
			require.NoError(t, t.Context().Err())
		}
		stop()
	}
	require.Empty(t, first.board.Asked, "it has no consumers")
}
