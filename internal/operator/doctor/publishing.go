package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// publishing says what processes could not publish: records that were refused, and
// queues that refuse.
func (f *Findings) publishing(answers []broker.ProcessStatus, now time.Time) {
	full := map[string]fullQueue{}
	for _, p := range answers {
		for _, r := range p.Refused {
			f.add(text.LevelWarning, "refused publishes", "see docs/runbook/refused-publish.md: what is to be done depends "+
				"on the reason",
				"process %s: %s, %d times%s: %s", text.OrDash(p.Instance), refusedRecord(r), r.Count, processes.Since(r.Since,
					now), r.Reason)
		}
		for _, q := range p.Full {
			name := cmp.Or(q.Queue, "topic "+q.Topic)
			one := full[name]
			one.add(q)
			full[name] = one
		}
	}
	for _, name := range slices.Sorted(maps.Keys(full)) {
		q := full[name]
		f.add(text.LevelWarning, "full queues", q.remedy(), "%s", q.text(now))
	}
}

func refusedRecord(r broker.RefusedRecord) string {
	if r.Message == "" {
		return "a record for " + r.To + " was refused"
	}
	return fmt.Sprintf("message %s for %s was refused", r.Message, r.To)
}

// fullQueue is what several processes say of a queue that refuses.
type fullQueue struct {
	broker.FullQueue
	processes int
}

func (q *fullQueue) add(one broker.FullQueue) {
	since, refused, held := q.Since, q.Refused, q.Held
	q.FullQueue = one
	q.Refused, q.Held = one.Refused+refused, one.Held+held
	if !since.IsZero() && since.Before(q.Since) {
		q.Since = since
	}
	q.processes++
}

func (q fullQueue) text(now time.Time) string {
	what := q.Queue + " of consumer " + q.Consumer
	switch {
	case q.Queue == "":
		what = "a queue that is bound for " + q.Topic + ", and is of no consumer that the processes know,"
	case q.Consumer == "":
		what = q.Queue
	}
	s := fmt.Sprintf("%s refuses publishes of %s%s: %d times", what, text.ProcessCount(q.processes),
		processes.Since(q.Since, now), q.Refused)
	if q.Held > 0 {
		s += fmt.Sprintf("; %s put where they wait for room, and nobody else waits for that", wereMessages(q.Held))
	}
	return s
}

func wereMessages(n int) string {
	if n == 1 {
		return "1 message was"
	}
	return fmt.Sprintf("%d messages were", n)
}

func (q fullQueue) remedy() string {
	if q.Queue == "" {
		return "see which queue of RabbitMQ's is at its limit (rabbitmqctl list_queues name messages policy), and empty " +
			"it, or raise the limit; docs/runbook/full-queue.md"
	}
	return "start the consumer's processes, or more of them, or raise the queue's max-length; if it is not at its " +
		"limit, it has no majority of its replicas; docs/runbook/full-queue.md"
}

// fullNow returns what a policy, or an argument, limits in a queue that is at that
// limit now; empty if it is at none.
func fullNow(q processes.ManagedQueue) string {
	var out []string
	for _, l := range []struct {
		key string
		has float64
	}{{"max-length", q.Messages}, {"max-length-bytes", q.Bytes}} {
		limit, ok := processes.Number(q.Effective[l.key])
		if own, of := processes.Number(q.Arguments["x-"+l.key]); of && (!ok || own < limit) {
			limit, ok = own, true
		}
		if ok && l.has >= limit {
			out = append(out, fmt.Sprintf("%s %.0f (it has %.0f)", l.key, limit, l.has))
		}
	}
	return strings.Join(out, ", ")
}

// fullQueues says which queues are at their limits now, by RabbitMQ's own word.
func (f *Findings) fullQueues(queues []processes.ManagedQueue, prefix string) {
	for _, q := range queues {
		limit := fullNow(q)
		if limit == "" {
			continue
		}
		by, whose, held := "", "", ""
		if q.Policy != "" || q.OperatorPolicy != "" {
			by = " of " + processes.PolicyNames(q)
		}
		if name, ok := strings.CutPrefix(q.Name, prefix+".q."); ok {
			whose, held = " of consumer "+name, heldNow(queues, prefix+".retry.full."+name)
		}
		f.add(text.LevelProblem, "full queues", "start the consumer's processes, or more of them, or raise the limit; "+
			"docs/runbook/full-queue.md",
			"%s%s is full: %s%s; what is published to it is refused%s", q.Name, whose, limit, by, held)
	}
}

// heldNow says what waits for room in a queue.
func heldNow(queues []processes.ManagedQueue, name string) string {
	i := slices.IndexFunc(queues, func(q processes.ManagedQueue) bool { return q.Name == name })
	if i < 0 || queues[i].Messages == 0 {
		return ""
	}
	return fmt.Sprintf(", and waits for room in %s (%s)", name, text.Plural(int(queues[i].Messages), "message"))
}
