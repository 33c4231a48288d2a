package doctor

import (
	"context"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
)

const (
	// doctorAsks is how many workflows doctor asks what they wait for.
	doctorAsks = 100
	// longForAReply is how long ago a saga called a participant that runs before it is
	// worth a warning.
	longForAReply = time.Minute
)

// examineWaiting looks for whatever waits for something that is not there, in all
// three parts at once.
func examineWaiting(ctx context.Context, c *reach.Config, e Examination) []Finding {
	f := Findings{Suggester: c.Suggester(), part: "Waiting"}
	s := &waits.Survey{Config: c, Suggester: f.Suggester, Now: c.Clock(), Ask: e.asked, Asks: doctorAsks}
	if e.Management != "" {
		with := *c
		with.Management = e.Management
		s.Config = &with
	}
	waits.Look(ctx, c, s, e.Skip)
	for _, w := range s.Sorted() {
		f.waited(w, s.Now)
	}
	for _, w := range s.Uncalled {
		f.add(text.LevelWarning, w.For, w.Remedy, "no saga waits for it yet: %s", w.Detail)
	}
	for _, u := range s.Unknown {
		f.add(text.LevelWarning, "waiting", "run doctor again; --timeout gives it more time", "unknown: %s", u)
	}
	switch {
	case s.Server == nil && s.Broker == nil:
	case len(f.All) > 0:
	case s.Server == nil:
		f.ok("waiting", "nothing in RabbitMQ waits for something that is not there; what Temporal has was not looked at")
	case s.Broker == nil:
		f.ok("waiting", "nothing in Temporal waits for something that is not there; what RabbitMQ has was not looked at")
	default:
		f.ok("waiting", "nothing waits for something that is not there")
	}
	return f.All
}

// waited judges what waits for the same.
func (f *Findings) waited(w *waits.Wait, now time.Time) {
	waited := now.Sub(w.Since)
	check := w.For
	switch {
	case w.Missing:
		f.add(text.LevelProblem, check, w.Remedy, "%s", w.Sentence(now))
	case w.Kind == waits.WaitSaga && strings.HasPrefix(w.For, waits.ParticipantPrefix) && waited > longForAReply:
		f.add(text.LevelWarning, check, w.Remedy, "%s", w.Sentence(now))
	case w.Kind == waits.WaitTransaction && w.Then != "" && waited > longForAReply:
		f.add(text.LevelWarning, check, w.Remedy, "%s", w.Sentence(now))
	}
}
