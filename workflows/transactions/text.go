package transactions

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// Summary is the one line about a new workflow of txs that the Temporal UI
// shows beside its name.
func Summary(txs []activities.Tx) string {
	return workflows.Shorten("transaction: " + topicsOf(txs))
}

// details say in the Temporal UI what a new workflow is for.
func details(group string, tx activities.Tx) string {
	s := fmt.Sprintf("Transaction `%s` of producer group `%s`, local transaction %s.\n\nDelivered if it commits: %s.",
		tx.ID, group, tx.Form, strings.Join(holdfast.Topics(tx.Messages), ", "))
	if keys := keysOf(tx.Messages); len(keys) > 0 {
		s += "\n\nKeys: " + strings.Join(keys, ", ")
	}
	if tx.Why != "" {
		s += "\n\nHere because: " + tx.Why
	}
	return s
}

// show says in the UI, and in the search attribute, that the workflow is off
// its happy path, and why. The state of a workflow of several members is that
// of the one that was in trouble last.
func (t *transaction) show(ctx workflow.Context, s workflows.State, details string) {
	workflow.SetCurrentDetails(ctx, details)
	if t.state == s {
		return
	}
	t.state = s
	_ = workflow.UpsertTypedSearchAttributes(ctx,
		temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState).ValueSet(string(s)))
}

// showEnd corrects the search attribute of a workflow that was off its happy
// path.
func (t *transaction) showEnd(ctx workflow.Context) {
	if t.state == "" {
		return
	}
	last := t.members[len(t.members)-1].state
	t.show(ctx, last, "Ended: "+string(last)+".")
}

// showKeys makes the business keys that the local transactions changed
// findable. It costs an action, and only where one was changed.
func (t *transaction) showKeys(ctx workflow.Context) {
	if keys := t.findable(); len(keys) > 0 && !slices.Equal(keys, t.keys) {
		t.keys = keys
		_ = workflow.UpsertTypedSearchAttributes(ctx, workflows.SetKeys(keys))
	}
}

// findable are the values of HoldfastKey: the keys of a transaction, and of a
// cohort also what else finds a member.
func (t *transaction) findable() []string {
	txs := txsOf(t.members)
	if t.in.Cohort {
		return cohortKeys(txs, t.in.ShortIDs)
	}
	var all []holdfast.Message
	for _, tx := range txs {
		all = append(all, tx.Messages...)
	}
	return keysOf(all)
}

func topicsOf(txs []activities.Tx) string {
	var all []holdfast.Message
	for _, tx := range txs {
		all = append(all, tx.Messages...)
	}
	s := strings.Join(firstFew(holdfast.Topics(all)), ", ")
	if len(all) == 1 && all[0].Key != "" {
		s += " " + all[0].Key
	}
	if len(all) > 1 {
		s += fmt.Sprintf(" (%d messages)", len(all))
	}
	return s
}

func firstFew(names []string) []string {
	const few = 3
	if len(names) > few {
		return append(names[:few:few], "…")
	}
	return names
}

func txsOf(members []*member) []activities.Tx {
	txs := make([]activities.Tx, len(members))
	for i, m := range members {
		txs[i] = m.tx
	}
	return txs
}

func membersTopics(members []*member) string { return topicsOf(txsOf(members)) }

func halfSummary(group string, members []*member) string {
	if len(members) > 1 {
		return fmt.Sprintf("%d half messages: %s → half queue of %s", len(members), countedTopics(txsOf(members)), group)
	}
	return fmt.Sprintf("half message for %s → half queue of %s", membersTopics(members), group)
}

func localSummary(members []*member) string {
	switch {
	case len(members) > 1:
		return fmt.Sprintf("%d local transactions in the calling process: %s", len(members), countedTopics(txsOf(members)))
	case members[0].tx.Form == activities.Registered:
		return fmt.Sprintf("local transaction: handler %s", members[0].tx.Handler)
	}
	return "local transaction in the calling process"
}

func cohortElsewhereSummary(members []*member) string {
	return fmt.Sprintf("%d local transactions in the calling process %s", len(members), members[0].tx.Instance)
}

func elsewhereSummary(m *member) string {
	if m.tx.Form == activities.Registered {
		return fmt.Sprintf("local transaction: looking for a worker with handler %s", m.tx.Handler)
	}
	return fmt.Sprintf("local transaction in the calling process %s", m.tx.Instance)
}

func elsewhereError(m *member, err error) string {
	if m.tx.Form == activities.Registered {
		return fmt.Sprintf("handler %s could not be run: %s (register it with Handle on the group's workers)",
			m.tx.Handler, workflows.RootMessage(err))
	}
	return fmt.Sprintf("the process %s, which was to run the local transaction, is gone", m.tx.Instance)
}

func (t *transaction) commitSummary(members []*member) string {
	if len(members) > 1 {
		return fmt.Sprintf("deliver %d of %d transactions: %s", len(members), len(t.members), countedTopics(txsOf(members)))
	}
	return "deliver " + membersTopics(members)
}

func (t *transaction) rollbackSummary(members []*member) string {
	if len(members) > 1 {
		return fmt.Sprintf("forget %d of %d transactions, which rolled back: %s", len(members), len(t.members),
			countedTopics(txsOf(members)))
	}
	s := "forget " + membersTopics(members)
	if members[0].reason != "" {
		s += ": " + members[0].reason
	}
	return s
}

func checkSummary(group string, m *member) string {
	return fmt.Sprintf("check-back %d: ask group %s what became of %s", m.checks.asked()+1, group, m.tx.ID)
}

func checkTimerSummary(m *member) string {
	if m.state == workflows.Waiting {
		return "until the first check-back, unless the application confirms before"
	}
	return fmt.Sprintf("until check-back %d", m.checks.asked()+1)
}

func unroutedTimerSummary(m *member) string { return "until the next delivery: " + m.reason }

func bindingTimerSummary(m *member) string {
	return "parked, until it is tried whether a consumer is bound, and has room, now: " + m.reason
}

func decideSummary(m *member, r holdfast.Resolution, req Request) string {
	return fmt.Sprintf("%s %s: %s (%s)", r, m.tx.ID, req.Reason, req.Operator)
}

func lastAnswer(m *member) string {
	if m.reason == "" {
		return ""
	}
	return "; last answer: " + m.reason
}

func unreachedReason(group string, err error) string {
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return fmt.Sprintf("no process of group %s answered", group)
	}
	return workflows.RootMessage(err)
}

func checkingDetails(m *member, wait time.Duration) string {
	return fmt.Sprintf("**Checking back**: transaction `%s` is undecided after %d answered and %d unanswered "+
		"check-backs; the next one comes in %v.\n\nLast answer: %s",
		m.tx.ID, m.checks.Answered, m.checks.Unreached, wait, workflows.OrNone(m.reason))
}

func deliveringDetails(m *member) string {
	return fmt.Sprintf("**Delivering**: the local transaction of `%s` is committed; its messages are published until "+
		"the broker confirms.\n\nLast error: %s",
		m.tx.ID, workflows.OrNone(m.reason))
}

func (t *transaction) parkedDetails(m *member) string {
	if m.resolution == holdfast.Commit {
		return fmt.Sprintf("**Parked**: transaction `%s` is committed but cannot be delivered: %s.\n\n%s", m.tx.ID,
			m.reason, t.parkedRemedy(m))
	}
	return fmt.Sprintf("**Parked**: transaction `%s`: %s.\n\n%s", m.tx.ID, m.reason, t.parkedRemedy(m))
}

func (t *transaction) parkedRemedy(m *member) string {
	command := func(act string) string { return workflows.ActCommand(t.in.Prefix, "tx "+act, t.ownID(m)) }
	if m.goesOn && m.full {
		return "See that the queue that refuses it has room: it is delivered by itself then, in half an hour at the " +
			"latest. At once: " + command(UpdateRecheck) + "."
	}
	if m.goesOn {
		return "Start a consumer that is bound to it: it is delivered by itself then, in half an hour at the latest. At " +
			"once: " + command(UpdateRecheck) + "."
	}
	if m.resolution == holdfast.Commit {
		return "Mend that, then send the Update `recheck`, or: " + command(UpdateRecheck) + "."
	}
	return "An operator decides, with the Update `commit`, `rollback` or `recheck`, or with one of: " +
		command(UpdateCommit) + ", " + command(UpdateRollback) + ", " + command(UpdateRecheck) + "."
}
