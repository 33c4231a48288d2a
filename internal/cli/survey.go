package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// takeSurvey fills s with what the servers that are reached say. That one is not reached,
// its own part tells.
func takeSurvey(ctx context.Context, c *config, s *survey, skip []string) {
	skipped := strings.Join(skip, ",")
	if !strings.Contains(skipped, "temporal") {
		if t, err := c.temporal(ctx); err == nil {
			defer t.Close()
			s.temp = t
		}
	}
	run := func(ctx context.Context, b *broker.Broker) error {
		s.broker = b
		s.look(ctx)
		return nil
	}
	if c.AMQPURL == "" || strings.Contains(skipped, "rabbitmq") || c.withBroker(ctx, run) != nil {
		s.look(ctx)
	}
}

// sentence says how many wait, for how long, and what is known of it.
func (w *wait) sentence(now time.Time) string {
	said := w.counted() + " waiting"
	if !w.Since.IsZero() {
		said += fmt.Sprintf(", the oldest for %s", age(now.Sub(w.Since)))
	}
	if w.Detail != "" {
		said += ": " + w.Detail
	}
	if len(w.Examples) > 0 {
		said += "; such as " + w.Examples[0]
	}
	return said
}

// counted says how many of what wait.
func (w *wait) counted() string {
	what := map[string]string{waitGroup: "workflow", waitHalfQueue: "record", waitConsumer: "message", waitRetry: "message", waitLetter: "dead letter"}[w.Kind]
	if what == "" {
		what = w.Kind
	}
	said := plural(w.Count, what)
	if w.AtLeast {
		return "at least " + said
	}
	return said
}

// newSurvey returns a survey of everything.
func newSurvey(ctx context.Context, c *config) *survey {
	return &survey{config: c, suggester: c.suggester(), now: c.clock(), ask: c.askOnce(ctx, nil), asks: waitingAsks, whole: true}
}

// surveyAll looks at everything, and returns an error where no server is reached.
func surveyAll(ctx context.Context, c *config, s *survey) error {
	takeSurvey(ctx, c, s, nil)
	if s.temp == nil && s.broker == nil {
		return withRemedy(fmt.Errorf("neither Temporal nor RabbitMQ is reached"), "%s says why", s.code("doctor", ""))
	}
	if s.temp == nil {
		s.unknown = append(s.unknown, "what waits in workflows: Temporal is not reached")
	}
	if s.broker == nil {
		s.unknown = append(s.unknown, "what waits in queues, and which processes run: RabbitMQ is not reached")
	}
	return nil
}

// waitingAsks is how many workflows `holdfast waiting` asks what they wait for.
const waitingAsks = 500
