package waits

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Look fills s with what the servers that are reached say. That one is not reached,
// its own part tells.
func Look(ctx context.Context, c *reach.Config, s *Survey, skip []string) {
	skipped := strings.Join(skip, ",")
	if !strings.Contains(skipped, "temporal") {
		if t, err := c.Temporal(ctx); err == nil {
			defer t.Close()
			s.Server = t
		}
	}
	run := func(ctx context.Context, b *broker.Broker) error {
		s.Broker = b
		s.look(ctx)
		return nil
	}
	if c.AMQPURL == "" || strings.Contains(skipped, "rabbitmq") || c.WithBroker(ctx, run) != nil {
		s.look(ctx)
	}
}

// Sentence says how many wait, for how long, and what is known of it.
func (w *Wait) Sentence(now time.Time) string {
	said := w.Counted() + " waiting"
	if !w.Since.IsZero() {
		said += fmt.Sprintf(", the oldest for %s", text.Age(now.Sub(w.Since)))
	}
	if w.Detail != "" {
		said += ": " + w.Detail
	}
	if len(w.Examples) > 0 {
		said += "; such as " + w.Examples[0]
	}
	return said
}

// Counted says how many of what wait.
func (w *Wait) Counted() string {
	what := map[string]string{WaitGroup: "workflow", WaitHalfQueue: "record", WaitConsumer: "message",
		WaitRetry: "message", WaitLetter: "dead letter"}[w.Kind]
	if what == "" {
		what = w.Kind
	}
	said := text.Plural(w.Count, what)
	if w.AtLeast {
		return "at least " + said
	}
	return said
}

// New returns a survey of everything.
func New(ctx context.Context, c *reach.Config) *Survey {
	return &Survey{Config: c, Suggester: c.Suggester(), Now: c.Clock(), Ask: c.AskOnce(ctx, nil), Asks: waitingAsks,
		whole: true}
}

// LookAtAll looks at everything, and returns an error where no server is reached.
func LookAtAll(ctx context.Context, c *reach.Config, s *Survey) error {
	Look(ctx, c, s, nil)
	if s.Server == nil && s.Broker == nil {
		return text.WithRemedy(fmt.Errorf("neither Temporal nor RabbitMQ is reached"), "%s says why", s.Code("doctor", ""))
	}
	if s.Server == nil {
		s.Unknown = append(s.Unknown, "what waits in workflows: Temporal is not reached")
	}
	if s.Broker == nil {
		s.Unknown = append(s.Unknown, "what waits in queues, and which processes run: RabbitMQ is not reached")
	}
	return nil
}

// waitingAsks is how many workflows `holdfast waiting` asks what they wait for.
const waitingAsks = 500
