package main

import (
	"context"
	"fmt"
)

// consumeCallers is the number of handlers at a time: a Holdfast consumer's
// default.
var consumeCallers = []int{16}

const (
	drainTurns = 3 // of a round; what else the machine does changes meanwhile
)

// openDrain declares the queue of a competitor, and of its consumer, and makes an
// entry of the drain.
func openDrain(ctx context.Context, s *servers, name string, d drain) (*entry, error) {
	topic, err := s.topic(ctx, name)
	if err != nil {
		return nil, err
	}
	return &entry{
		prepare: func(ctx context.Context) error {
			_, err := s.fill(ctx, name, topic, d.warmUp+d.messages)
			return err
		},
		run: func(ctx context.Context, callers int) (figure, error) {
			f, err := d.run(ctx, callers)
			if err != nil {
				return f, err
			}
			left, err := s.ready(s.broker.ConsumerQueue(name))
			if err == nil && left > 0 {
				err = fmt.Errorf("%d messages came back to the queue: they were not acknowledged", left)
			}
			return f, err
		},
		settle: func(context.Context) error { return s.purge(s.broker.ConsumerQueue(name)) },
	}, nil
}
