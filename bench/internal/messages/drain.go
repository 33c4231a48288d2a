package messages

import (
	"context"
	"fmt"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// ConsumeCallers is the number of handlers at a time: a Holdfast consumer's
// default.
var ConsumeCallers = []int{16}

// drainTurns are several: what else the machine does changes during a round.
const drainTurns = 3

// openDrain declares the queue of a competitor, and of its consumer, and makes an
// entry of the drain.
func openDrain(ctx context.Context, s *servers.Servers, name string, d measure.Drain) (*contest.Entry, error) {
	topic, err := s.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	return &contest.Entry{
		Prepare: func(ctx context.Context) error {
			_, err := s.Fill(ctx, name, topic, d.WarmUp+d.Messages)
			return err
		},
		Run: func(ctx context.Context, callers int) (measure.Figure, error) {
			f, err := d.Run(ctx, callers)
			if err != nil {
				return f, err
			}
			left, err := s.Ready(s.Broker.ConsumerQueue(name))
			if err == nil && left > 0 {
				err = fmt.Errorf("%d messages came back to the queue: they were not acknowledged", left)
			}
			return f, err
		},
		Settle: func(context.Context) error { return s.Purge(s.Broker.ConsumerQueue(name)) },
	}, nil
}
