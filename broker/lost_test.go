package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// A connection that is lost again and again is told, with why, also while it is lost: the
// answer finds another way.
func TestLostConnectionsAreTold(t *testing.T) {
	b, ctx := consuming(t)
	b.testConsumer(t, nil, func(context.Context, Delivery) error { return nil })
	asker := open(t, b.o.URL, b.o.Prefix, nil)
	for range link.LossesTold {
		b.c.Publishing.Lost.Add(errors.New("it broke"))
	}
	b.c.Publishing.Stop(ctx) // for good
	eventually(t, "it says so", func() bool {
		answers, err := asker.Ask(ctx, 0)
		require.NoError(t, err)
		if len(answers) == 0 {
			return false
		}
		require.Len(t, answers[0].Lost, 1)
		lost := answers[0].Lost[0]
		require.Equal(t, wire.RolePublishing, lost.Role)
		require.Equal(t, link.LossesTold, lost.Count)
		require.Equal(t, "it broke", lost.Reason)
		return true
	})
}
