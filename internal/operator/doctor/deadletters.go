package doctor

import (
	"context"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
	"github.com/holdfastmq/holdfast/workflows"
)

// manyDead is how many dead letters may wait for those who take them in before
// it is worth a warning.
const manyDead = 100

// failureQueues are the queues of what consumers could not handle: the dead
// letters, the whole messages of oversized ones, and the delay queues.
func failureQueues(dead, prefix string, answers []broker.ProcessStatus) []string {
	return append([]string{dead, dead + ".oversized"}, waits.DelayQueues(prefix, answers)...)
}

// failures looks at the failureQueues.
func (f *Findings) failures(queues []broker.QueueInfo) {
	f.dead(queues[0])
	f.oversized(queues[1])
	f.retries(queues[2:])
}

// dead looks at what waits to be taken in as dead letters.
func (f *Findings) dead(q broker.QueueInfo) {
	const check = "dead letters"
	switch {
	case !q.Exists:
		f.ok(check, "none (%s is not there yet)", q.Name)
	case q.Messages > 0 && q.Consumers == 0:
		f.add(text.LevelWarning, check, "start one: then "+f.Code("dead list", "")+" shows them",
			"%s in %s, and no worker with Temporal takes them in", waiting(q), q.Name)
	case q.Messages > manyDead:
		f.add(text.LevelWarning, check, "is Temporal reachable from the workers? It goes on by itself",
			"the intake lags behind: %s in %s", waiting(q), q.Name)
	case q.Messages > 0:
		f.ok(check, "%s in %s, being taken in", waiting(q), q.Name)
	default:
		f.ok(check, "none waits to be taken in")
	}
}

// oversized looks at the whole messages of dead letters that were too large.
func (f *Findings) oversized(q broker.QueueInfo) {
	const check = "oversized dead letters"
	if q.Messages == 0 {
		f.ok(check, "none")
		return
	}
	f.add(text.LevelWarning, check, "their dead letters hold the beginning only: see to them "+
		"with "+f.Code("dead list", "")+", "+
		"get or move the whole messages with RabbitMQ's management UI or shovel, and remove those that are settled",
		"%s holds %s", q.Name, text.Plural(q.Messages, "message"))
}

// retries looks at the delay queues.
func (f *Findings) retries(queues []broker.QueueInfo) {
	var each []string
	all := 0
	for _, q := range queues {
		if q.Messages > 0 {
			all += q.Messages
			each = append(each, fmt.Sprintf("%d of %s", q.Messages, q.Name[strings.LastIndex(q.Name,
				".retry.")+len(".retry."):]))
		}
	}
	if all == 0 {
		f.ok("retries", "none waits for a delay of the default ladder, or of a running consumer's")
		return
	}
	f.ok("retries", "%d waiting for a delay: %s", all, strings.Join(each, ", "))
}

// letterStates are the states of open dead letters that are counted, beside
// parked, and how the count is put.
var letterStates = []struct {
	state workflows.State
	said  string
}{
	{workflows.Waits, "waiting for the next redelivery"},
	{workflows.Redelivering, "being redelivered"},
	{workflows.Compensating, "being compensated"},
}

// letters counts the dead letters that are open.
func (f *Findings) letters(ctx context.Context, t *server.Temporal, prefix string) {
	count := func(states ...string) (int64, error) {
		n, err := deadletters.Total(ctx, t, deadletters.Filter{Prefix: prefix, States: states})
		return int64(n), err
	}
	// Mostly all that are open are parked.
	counts := map[workflows.State]int64{}
	open, err := count()
	if err == nil {
		counts[workflows.Parked], err = count(string(workflows.Parked))
	}
	for _, s := range letterStates {
		if err == nil && open > counts[workflows.Parked] {
			counts[s.state], err = count(string(s.state))
		}
	}
	if err != nil {
		f.add(text.LevelWarning, "dead letters", "", "unknown: %s", text.Of(err))
		return
	}
	pollers, err := t.Pollers(ctx, workflows.DeadLetterQueue(prefix), enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		pollers = -1
	}
	f.openLetters(counts, workflows.DeadLetterQueue(prefix), pollers)
}

// openLetters judges how many dead letters are open, and whether anybody serves
// them; pollers below 0 means that this is not known.
func (f *Findings) openLetters(counts map[workflows.State]int64, queue string, pollers int) {
	const check = "dead letters"
	open := counts[workflows.Parked]
	rest := ""
	for _, s := range letterStates {
		if n := counts[s.state]; n > 0 {
			open += n
			rest += fmt.Sprintf("; %d %s", n, s.said)
		}
	}
	if parked := counts[workflows.Parked]; parked > 0 {
		f.add(text.LevelWarning, check, f.Code("dead list", "")+" lists them, "+f.Code("dead show",
			"ID")+" says why and what can be done", "%s for an operator%s",
			text.Plural(int(parked), "dead letter")+" waiting", rest)
	} else {
		f.ok(check, "none waits for an operator%s", rest)
	}
	if open > 0 && pollers == 0 {
		f.add(text.LevelProblem, "dead letter workers", "start a worker with Temporal; check --prefix",
			"no process polls task queue %s: nothing can be done about open dead letters", queue)
	}
}

// lostLetters finds dead letters whose last workflow was closed unsettled, among
// the latest.
func (f *Findings) lostLetters(ctx context.Context, t *server.Temporal, prefix string) {
	const check = "lost dead letters"
	n, example, err := closedUndecided(ctx, t, deadletters.LettersQuery(prefix))
	switch {
	case err != nil:
		f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
	case n == 0:
		f.ok(check, "no dead letter's workflow was closed unsettled")
	default:
		f.add(text.LevelProblem, check, f.Code("dead restart", "",
			text.WithReason("--all")...)+" takes them up again; look at one first, such as: "+f.Command("dead show", example),
			"%s closed unsettled, by a termination for example", text.Plural(n, "workflow"))
	}
}
