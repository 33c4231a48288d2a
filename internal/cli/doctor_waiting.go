package cli

import (
	"context"
	"strings"
	"time"
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
func examineWaiting(ctx context.Context, c *config, e examination) []finding {
	f := findings{suggester: c.suggester(), part: "Waiting"}
	s := &survey{config: c, suggester: f.suggester, now: c.clock(), ask: e.asked, asks: doctorAsks}
	if e.management != "" {
		with := *c
		with.Management = e.management
		s.config = &with
	}
	takeSurvey(ctx, c, s, e.skip)
	for _, w := range s.sorted() {
		f.waited(w, s.now)
	}
	for _, w := range s.uncalled {
		f.add(levelWarning, w.For, w.Remedy, "no saga waits for it yet: %s", w.Detail)
	}
	for _, u := range s.unknown {
		f.add(levelWarning, "waiting", "run doctor again; --timeout gives it more time", "unknown: %s", u)
	}
	switch {
	case s.temp == nil && s.broker == nil:
	case len(f.all) > 0:
	case s.temp == nil:
		f.ok("waiting", "nothing in RabbitMQ waits for something that is not there; what Temporal has was not looked at")
	case s.broker == nil:
		f.ok("waiting", "nothing in Temporal waits for something that is not there; what RabbitMQ has was not looked at")
	default:
		f.ok("waiting", "nothing waits for something that is not there")
	}
	return f.all
}

// waited judges what waits for the same.
func (f *findings) waited(w *wait, now time.Time) {
	waited := now.Sub(w.Since)
	check := w.For
	switch {
	case w.Missing:
		f.add(levelProblem, check, w.Remedy, "%s", w.sentence(now))
	case w.Kind == waitSaga && strings.HasPrefix(w.For, participantPrefix) && waited > longForAReply:
		f.add(levelWarning, check, w.Remedy, "%s", w.sentence(now))
	case w.Kind == waitTransaction && w.Then != "" && waited > longForAReply:
		f.add(levelWarning, check, w.Remedy, "%s", w.sentence(now))
	}
}
