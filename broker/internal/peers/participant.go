package peers

import (
	"context"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// ParticipantWait says that a participant has calls, or would not take them, and cannot
// work on them: its database is away, its pool used up, its circuit breaker open; or that
// somebody has paused it.
type ParticipantWait struct {
	// Name is the participant's.
	Name string
	// Since is since when, by the clock of its process.
	Since time.Time
	// Reason is its last error, or who paused it and why.
	Reason string
}

// waitFresh is how old answers may be that it goes by: many sagas ask at
// once.
const waitFresh = 2 * time.Second

// Participants is the last question whether participants wait.
type Participants struct {
	turn    chan struct{} // has a token while nobody asks
	at      time.Time
	answers []wire.ProcessStatus
}

// NewParticipants has asked nobody yet.
func NewParticipants() *Participants {
	w := &Participants{turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	return w
}

// Waits asks the processes that take topic as a participant whether all of them wait. Nil:
// one does not, or none answers within a second.
func (w *Participants) Waits(ctx context.Context, c *link.Client, topic string) (*ParticipantWait, error) {
	answers, err := w.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	return waitOf(answers, topic), nil
}

// ask asks all processes for their consumers, unless that was done a moment ago.
func (w *Participants) ask(ctx context.Context, c *link.Client) ([]wire.ProcessStatus, error) {
	select {
	case <-w.turn:
		defer func() { w.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !w.at.IsZero() && time.Since(w.at) < waitFresh {
		return w.answers, nil
	}
	answers, err := Ask(ctx, c, askWait, wire.StatusRequest{Consumers: true})
	if err != nil || ctx.Err() != nil {
		return answers, err
	}
	w.at, w.answers = time.Now(), answers
	return answers, nil
}

// waitOf is how the participants of topic wait, if all do. Processes of older versions
// do not say who is one; there, whoever takes the very topic counts.
func waitOf(answers []wire.ProcessStatus, topic string) (out *ParticipantWait) {
	var of []wire.ConsumerStatus
	for _, p := range answers {
		for _, c := range p.Consumers {
			if slices.Contains(c.Topics, topic) {
				of = append(of, c)
			}
		}
	}
	if slices.ContainsFunc(of, func(c wire.ConsumerStatus) bool { return c.Participant }) {
		of = slices.DeleteFunc(of, func(c wire.ConsumerStatus) bool { return !c.Participant })
	}
	for _, c := range of {
		since, why := waitsSince(c)
		if since.IsZero() {
			return nil
		}
		if out == nil || since.Before(out.Since) {
			out = &ParticipantWait{Name: wire.ConsumerName(c.Name), Since: since,
				Reason: wire.PlainText(why, wire.MaxReason)}
		}
	}
	return out
}

// waitsSince is since when a consumer handles nothing, and why.
func waitsSince(c wire.ConsumerStatus) (since time.Time, why string) {
	switch {
	case c.Paused != nil:
		return c.Paused.Since, c.Paused.String()
	case !c.WaitsSince.IsZero():
		return c.WaitsSince, c.Error
	case c.Breaker == wire.BreakerOpen || c.Breaker == wire.BreakerProbing:
		return c.Since, c.Error
	}
	return time.Time{}, ""
}
