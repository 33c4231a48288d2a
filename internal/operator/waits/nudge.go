package waits

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
)

// Nudge has a workflow, the messages of a consumer on its ladder, or its breakers do now
// what they would do later.
type Nudge struct {
	// ID is the workflow's, or the consumer's name.
	ID  string `json:"id"`
	For string `json:"for"`
	// Count is how many messages are tried, or in how many processes the breaker.
	Count   int  `json:"count,omitempty"`
	AtLeast bool `json:"at_least,omitempty"`

	Signal string `json:"-"`
	arg    any
	queue  string // of a delay
	probe  bool
}

// CarryOut does what nudges say, and counts the workflows that have ended meanwhile.
func CarryOut(ctx context.Context, c *reach.Config, nudges []Nudge) (gone int, err error) {
	var signals []Nudge
	for _, n := range nudges {
		if n.Signal != "" {
			signals = append(signals, n)
		}
	}
	if len(signals) > 0 {
		err = c.WithTemporal(ctx, func(ctx context.Context, t *server.Temporal) (err error) {
			gone, err = sendNudges(ctx, t, signals)
			return err
		})
	}
	if len(signals) < len(nudges) {
		err = errors.Join(err, c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
			return errors.Join(probeBreakers(ctx, b, nudges), moveLadders(ctx, b, nudges))
		}))
	}
	return gone, err
}

// sendNudges sends the signals, and counts the workflows that have ended meanwhile.
func sendNudges(ctx context.Context, t *server.Temporal, nudges []Nudge) (gone int, err error) {
	ended := make([]bool, len(nudges))
	var all errgroup.Group
	all.SetLimit(server.ResultsAtOnce)
	for i, n := range nudges {
		all.Go(func() error {
			err := t.SignalWorkflow(ctx, n.ID, "", n.Signal, n.arg)
			var missing *serviceerror.NotFound
			if ended[i] = errors.As(err, &missing); ended[i] {
				return nil
			}
			if err != nil {
				return fmt.Errorf("signal workflow %s: %w", n.ID, err)
			}
			return nil
		})
	}
	err = all.Wait()
	for _, e := range ended {
		if e {
			gone++
		}
	}
	return gone, err
}
