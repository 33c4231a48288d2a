package waits

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// nudgeLadder notes how to have a consumer's messages in a delay tried at once.
func (s *Survey) nudgeLadder(x broker.LadderWait, l Looked, w *Wait) {
	if s.Nudging {
		s.Nudges = append(s.Nudges, Nudge{ID: x.Consumer, For: w.For, Count: x.Count, AtLeast: l.Unseen() > 0, queue: l.Name})
	}
}

// nudgeBreaker notes how to have a consumer's open breakers try a message at once.
func (s *Survey) nudgeBreaker(name string, c broker.ConsumerStatus, w *Wait) {
	if !s.Nudging || c.Breaker != broker.BreakerOpen {
		return
	}
	i := slices.IndexFunc(s.Nudges, func(n Nudge) bool { return n.probe && n.ID == name })
	if i < 0 {
		i = len(s.Nudges)
		s.Nudges = append(s.Nudges, Nudge{ID: name, For: w.For, probe: true})
	}
	s.Nudges[i].Count++
}

// probesAtOnce is how many consumers one question names.
const probesAtOnce = 50

// probeBreakers has open breakers try a message, and notes how many processes did.
func probeBreakers(ctx context.Context, b *broker.Broker, nudges []Nudge) error {
	var names []string
	for _, n := range nudges {
		if n.probe {
			names = append(names, n.ID)
		}
	}
	for chunk := range slices.Chunk(names, probesAtOnce) {
		answers, err := b.Probe(ctx, 0, chunk...)
		if err != nil {
			return fmt.Errorf("have breakers try a message: %w", err)
		}
		for i, n := range nudges {
			if n.probe && slices.Contains(chunk, n.ID) {
				nudges[i].Count = len(processes.ConsumerStates(answers, n.ID))
			}
		}
	}
	return nil
}

// moveLadders puts messages from the delays back into their consumers' queues, and notes
// how many.
func moveLadders(ctx context.Context, b *broker.Broker, nudges []Nudge) (err error) {
	consumers := map[string][]string{}
	for _, n := range nudges {
		if n.queue != "" {
			consumers[n.queue] = append(consumers[n.queue], n.ID)
		}
	}
	if len(consumers) > 0 {
		if err := processes.MaySign(ctx, b, "nothing was moved"); err != nil {
			return err
		}
	}
	for _, queue := range text.SortedKeys(consumers) {
		moved, failed := b.RetryLadder(ctx, queue, broker.MaxLadder, consumers[queue]...)
		if failed != nil {
			err = errors.Join(err, text.WithRemedy(failed, "what was not moved waits as before: run it again, or wait"))
		}
		for i, n := range nudges {
			if n.queue == queue {
				nudges[i].Count = moved[n.ID]
			}
		}
	}
	return err
}
