package worker_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// TestAlertsGoToWhoseTheyAre: an alert is raised in whichever process happens to notice;
// who has nobody to tell hands it on, and nothing is lost while nobody is there.
func TestAlertsGoToWhoseTheyAre(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	process := func(consumer string, heard *bells, all bool) *running {
		o := worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), AllAlerts: all}
		if heard != nil {
			heard.hears(&o)
		}
		return s.run(o, worker.Consumer{Name: consumer, Topics: []string{consumer}, HandleAtLeastOnce: (&audit{}).consumer().HandleAtLeastOnce})
	}
	about := func(consumer, id string) holdfast.Alert {
		return holdfast.Alert{Kind: holdfast.AlertDeadLetter, Consumer: consumer, Group: group, ID: id, Reason: "oops"}
	}
	heardOf := func(b *bells, id string) func() bool {
		return func() bool { _, ok := b.about(holdfast.AlertDeadLetter, id); return ok }
	}
	mute := process("mailer", nil, false)
	mute.Raise(about("mailer", "kept"))

	desk, own := &bells{}, &bells{}
	everything := process("desk", desk, true)
	until(t, "what was raised while nobody was there", heardOf(desk, "kept"))
	payments := process("payments", own, false)
	n := 0
	until(t, "its own hook is known", func() bool {
		n++
		mute.Raise(about("payments", "probe-"+strconv.Itoa(n)))
		return len(own.of(holdfast.AlertDeadLetter)) > 0
	})
	mute.Raise(about("payments", "theirs"))
	everything.Raise(about("mailer", "nobody's"))
	mute.Raise(about("mailer", "nobody's, too"))
	payments.Raise(about("payments", "mine"))
	payments.Raise(about("mailer", "for the desk"))
	for id, b := range map[string]*bells{"theirs": own, "nobody's": desk, "nobody's, too": desk, "mine": own, "for the desk": desk} {
		until(t, id, heardOf(b, id))
	}
	for id, b := range map[string]*bells{"theirs": desk, "mine": desk, "nobody's": own, "nobody's, too": own, "for the desk": own} {
		require.False(t, heardOf(b, id)(), id)
	}
}
