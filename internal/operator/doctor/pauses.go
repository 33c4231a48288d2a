package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// overdue is how long after its end a pause may be there still: clocks differ.
const overdue = 5 * time.Minute

// pauses says which consumers are paused by hand, and which cannot be.
func (f *Findings) pauses(ctx context.Context, b *broker.Broker, answers []broker.ProcessStatus, now time.Time) {
	all, err := b.PausedConsumers(ctx)
	if err != nil {
		f.add(text.LevelWarning, "pauses", "give this user what `holdfast topology permissions operator` prints",
			"unknown: what is paused by hand, but for what processes say: %s", text.Of(err))
	}
	for _, p := range answers {
		for _, c := range p.Consumers {
			known := func(p broker.ConsumerPause) bool { return c.Paused == nil || p.ID == c.Paused.ID }
			if !slices.ContainsFunc(all, known) && c.Paused != nil {
				all = append(all, *c.Paused)
			}
			if c.Unpausable != "" {
				f.add(text.LevelWarning, "pauses of "+c.Name, "see docs/operating.md#pausing-a-consumer: the stream "+
					b.PausesExchange()+" has to be there, and the process's user has to read it",
					"it cannot be paused by hand in process %s: %s", text.OrDash(p.Instance), c.Unpausable)
			}
		}
	}
	for _, p := range all {
		readers, waiting := queueOf(ctx, b, p.Consumer)
		f.pause(p, answers, readers, waiting, now)
	}
}

// queueOf is how many subscriptions to a consumer's queue RabbitMQ knows, and how many messages wait
// in it; 0 and -1 if it does not say.
func queueOf(ctx context.Context, b *broker.Broker, consumer string) (readers, waiting int) {
	info, err := b.Inspect(ctx, b.ConsumerQueue(consumer))
	if err != nil {
		return 0, -1
	}
	return info.Queues[0].Consumers, info.Queues[0].Messages
}

// pause says that a consumer is paused by hand, how many messages wait meanwhile, and who does not
// heed it.
func (f *Findings) pause(p broker.ConsumerPause, answers []broker.ProcessStatus, readers, waiting int, now time.Time) {
	check, remedy := "pause of "+p.Consumer, "resume it: "+f.Command("consumers resume", p.Consumer, text.WithReason()...)
	ends := ""
	if !p.Until.IsZero() {
		ends = ", until " + p.Until.In(now.Location()).Format(text.DateTime)
	}
	said := fmt.Sprintf("%s%s%s", p.String(), processes.Since(p.Since, now), ends)
	if waiting >= 0 {
		said += ", " + text.Plural(waiting, "message") + " in its queue"
	}
	heedless := false
	for _, a := range answers {
		for _, c := range a.Consumers {
			if c.Name != p.Consumer || c.Paused != nil {
				continue
			}
			heedless = true
			why, do := processes.Unpausable(c), "stop that process; an earlier version heeds no pause"
			if c.Pausable {
				why = "it has not read that pause, or refuses its signature"
				do = "see HOLDFAST_SIGNING_KEYRING of " + p.By + ", then pause it again; until then, stop that process"
			}
			f.add(text.LevelProblem, check, do, "%s; process %s does not heed it: %s", said, text.OrDash(a.Instance), why)
		}
	}
	if heedless {
		return
	}
	if readers > 0 {
		f.add(text.LevelProblem, check, "find it in RabbitMQ's list of connections, and stop it; look again first: a "+
			"process may just have begun", "%s; somebody who does not answer still reads its queue (%s)", said,
			text.Plural(readers, "subscription"))
		return
	}
	if !p.Until.IsZero() && now.Sub(p.Until) > overdue {
		said += ": its end has not come, the queue that keeps it is gone or late"
	}
	f.add(text.LevelWarning, check, remedy, "%s", said)
}
