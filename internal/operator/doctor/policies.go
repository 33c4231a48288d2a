package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// examinePolicies looks for policies of RabbitMQ's that drop, expire or limit what is in
// Holdfast's queues. It returns the queues as the management API describes them, if it is
// reached.
func examinePolicies(ctx context.Context, c *reach.Config, f *Findings, b *broker.Broker,
	given string) (queues []processes.ManagedQueue) {
	const check = "policies"
	lacking, err := b.Unprotected(ctx)
	var refused *amqp.Error
	switch {
	case errors.As(err, &refused) && refused.Code == amqp.AccessRefused:
		f.ok(check, "whether the queues of dead letters are protected is unknown: this user may not declare them")
	case err != nil:
		f.add(text.LevelWarning, check, "run doctor again", "whether the queues of dead letters are protected is unknown: %s",
			text.Of(err))
	}
	m, err := processes.NewManagement(c.AMQPURL, c.TLS(), given)
	if err == nil {
		queues, err = m.Queues(ctx, c.Prefix)
	}
	if err != nil {
		where := m.Where()
		if where != "" {
			where = " at " + where
		}
		f.ok(check, "not looked for: RabbitMQ's management API%s is not reached (%s); --rabbitmq-management URL says "+
			"where it is", where, text.Of(err))
	}
	risks := map[risk][]string{} // the queues of each
	var order []risk
	untold := 0
	for _, q := range queues {
		if q.Effective == nil {
			untold++
		}
		for _, r := range policyRisks(q, c.Prefix, slices.Contains(lacking, q.Name)) {
			if risks[r] == nil {
				order = append(order, r)
			}
			risks[r] = append(risks[r], q.Name)
		}
	}
	for _, r := range order {
		names, more := risks[r], ""
		if n := len(names) - namesShown; n > 0 {
			names, more = names[:namesShown], fmt.Sprintf(" and %d more", n)
		}
		f.add(r.level, check, r.remedy, "%s%s: %s", strings.Join(names, ", "), more, r.detail)
	}
	f.fullQueues(queues, c.Prefix)
	if err == nil {
		f.alternates(ctx, m, c.Prefix)
	}
	if untold > 0 {
		f.add(text.LevelWarning, check, "run doctor again in some seconds; if it stays so, RabbitMQ's statistics are off: "+
			"look at `rabbitmqctl list_policies` yourself",
			"RabbitMQ does not say which policies apply to %s", text.Plural(untold, "queue"))
	} else if err == nil && len(order) == 0 {
		f.ok(check, "none drops, expires or limits what is in the %s", text.Plural(len(queues), "queue"))
	}
	if len(lacking) > 0 {
		f.add(text.LevelWarning, check, "no hurry while no policy applies to them; docs/runbook/policy.md says how to "+
			"make them anew",
			"%s: made by an older version, what a policy takes out of there is lost", strings.Join(lacking, ", "))
	}
	return queues
}

// alternates looks for policies that give exchanges an alternate exchange: what no queue takes goes
// there, and does not come back to who published it.
func (f *Findings) alternates(ctx context.Context, m processes.Management, prefix string) {
	const check = "policies"
	exchanges, err := m.Exchanges(ctx, prefix)
	by := map[string][]string{} // the exchanges that have a policy and no argument of their own
	for _, e := range exchanges {
		if _, own := e.Arguments["alternate-exchange"]; e.Policy != "" && !own {
			by[e.Policy] = append(by[e.Policy], e.Name)
		}
	}
	if err == nil && len(by) == 0 {
		return
	}
	var said map[string]processes.Definition
	if err == nil {
		said, err = m.Policies(ctx)
	}
	if err != nil {
		f.add(text.LevelWarning, check, "give the user of the management API the tag policymaker, or look at `rabbitmqctl "+
			"list_policies` yourself", "whether a policy gives exchanges an alternate-exchange is unknown: %s", text.Of(err))
		return
	}
	for _, policy := range slices.Sorted(maps.Keys(by)) {
		if to, has := said[policy]["alternate-exchange"]; has {
			f.add(text.LevelProblem, check, "change policy "+policy+" so that it does not apply to exchanges that begin with "+
				prefix+".", "%s: policy %s has alternate-exchange %q: what no queue takes goes there and counts as delivered: "+
				"committed messages without a consumer, and half messages and replies whose queue is missing",
				text.Join(by[policy]), policy, fmt.Sprint(to))
		}
	}
}

// risk is something that a policy would do.
type risk struct {
	level          text.Level
	detail, remedy string
}

// queueKind says what a queue of the prefix is for.
func queueKind(name, prefix string) string {
	rest := strings.TrimPrefix(name, prefix+".")
	switch {
	case rest == "dead" || rest == "dead.oversized" || rest == "dead.expired":
		return rest
	case strings.HasPrefix(rest, "status.") || strings.HasPrefix(rest, "replies.") && strings.Contains(rest, "@"):
		return "" // a process's own, which lives as long as that
	}
	kind, _, _ := strings.Cut(rest, ".")
	return kind
}

// consumerTimeoutLeast is what deliveries must be allowed to take: the Keeper and
// the intake hold records for two minutes.
const consumerTimeoutLeast = 5 * time.Minute

// policyRisks judges the policies that apply to a queue. lacking says that it has
// nowhere to put what they take out.
func policyRisks(q processes.ManagedQueue, prefix string, lacking bool) (out []risk) {
	kind := queueKind(q.Name, prefix)
	if kind == "" {
		return nil
	}
	by := processes.PolicyNames(q)
	remedy := "change " + by + " so that it does not apply to queues that begin with " + prefix + "."
	add := func(l text.Level, format string, args ...any) {
		out = append(out, risk{l, by + " " + fmt.Sprintf(format, args...), remedy})
	}
	if ms, ok := processes.Number(q.Effective["message-ttl"]); ok {
		l, what := ttlRisk(kind, lacking, q, time.Duration(ms)*time.Millisecond)
		if what != "" {
			add(l, "has message-ttl %v: %s", time.Duration(ms)*time.Millisecond, what)
		}
	}
	if ms, ok := processes.Number(q.Effective["expires"]); ok {
		add(text.LevelProblem, "has expires %v: RabbitMQ deletes the queue, with all that is in it, when no process has "+
			"read it for so long", time.Duration(ms)*time.Millisecond)
	}
	for _, key := range []string{"max-length", "max-length-bytes"} {
		if n, ok := processes.Number(q.Effective[key]); ok {
			if q.Arguments["x-overflow"] == "reject-publish" {
				add(text.LevelWarning, "has %s %.0f: when the queue is full, publishes to it are refused, and wait", key, n)
			} else {
				add(text.LevelProblem, "has %s %.0f: when the queue is full, RabbitMQ drops the oldest records for good", key, n)
			}
		}
	}
	if n, ok := processes.Number(q.Effective["delivery-limit"]); ok && n < 1000 {
		add(text.LevelWarning, "has delivery-limit %.0f: what processes give back so often, when they stop or lose their "+
			"connection, becomes a dead letter", n)
	}
	for _, key := range []string{"dead-letter-exchange", "dead-letter-routing-key"} {
		v, there := q.Effective[key]
		if _, own := q.Arguments["x-"+key]; !there || own {
			continue // the queue's own argument counts
		}
		if key == "dead-letter-routing-key" && strings.HasPrefix(kind, "dead") {
			continue // it leads to a fanout exchange
		}
		l := text.LevelWarning
		if kind == "retry" || kind == "dead" {
			l = text.LevelProblem
		}
		add(l, "has %s %q, and the queue has no argument of its own for it: what leaves it by itself goes astray", key,
			fmt.Sprint(v))
	}
	if ms, ok := processes.Number(q.Effective["consumer-timeout"]); ok &&
		time.Duration(ms)*time.Millisecond < consumerTimeoutLeast {
		add(text.LevelProblem, "has consumer-timeout %v: RabbitMQ takes away what a process holds longer; want more than "+
			"a consumer's Timeout times its Tries, and %v at least", time.Duration(ms)*time.Millisecond, consumerTimeoutLeast)
	}
	if q.Type != "" && q.Type != "quorum" {
		out = append(out, risk{text.LevelWarning, "is a queue of type " + q.Type +
			": Holdfast makes quorum queues, which have several copies", "see who made it"})
	}
	return out
}

// ttlRisk says what a message-ttl does to a queue of that kind.
func ttlRisk(kind string, lacking bool, q processes.ManagedQueue, ttl time.Duration) (text.Level, string) {
	switch kind {
	case "dead", "dead.oversized":
		if lacking {
			return text.LevelProblem, "dead letters that are not taken in so soon are LOST"
		}
		return text.LevelProblem, "dead letters that are not taken in so soon are put back again and again, and lost if " +
			"no process of Holdfast runs for twice as long"
	case "dead.expired":
		return text.LevelProblem, "what left the queue of dead letters is LOST if no process of Holdfast puts it back so soon"
	case "half":
		return text.LevelProblem, "half messages that are undecided for so long, while no Keeper runs, become dead " +
			"letters: committed messages then wait for an operator"
	case "retry":
		if delay, ok := processes.Number(q.Arguments["x-message-ttl"]); ok && delay <= float64(ttl.Milliseconds()) {
			return text.LevelOK, ""
		}
		return text.LevelWarning, "retries come back after that instead of after their delay"
	case "q", "alone":
		return text.LevelProblem, "messages that wait so long, while the consumer is slow or away, become dead letters"
	}
	return text.LevelWarning, "what waits there so long becomes a dead letter"
}
