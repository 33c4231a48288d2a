package transactions

import (
	"time"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// Carried is what a run of the workflow hands to the next one about a member
// that has not ended: Temporal limits a history's length, so a transaction that
// is checked back or delivered very often continues as new. A member that leaves
// is carried to its own workflow in the same way.
type Carried struct {
	MemberStatus
	FirstCheck time.Time `json:"first_check,omitzero"`
	Refusal    string    `json:"refusal,omitempty"`
	AtOnce     bool      `json:"at_once,omitempty"`
	// Cancelled says that the workflow was asked to cancel, which is not done yet.
	Cancelled bool `json:"cancelled,omitempty"`
	// Full says that a queue refused a message of it just now.
	Full bool `json:"full,omitempty"`
	// ToldLong says that somebody was told that it is not delivered for long.
	ToldLong bool `json:"told_long,omitempty"`
}

// tooLong reports whether the rest should happen in a new run, and makes every
// member that waits come to where it can.
func (t *transaction) tooLong(ctx workflow.Context) bool {
	if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		t.renewing = true
	}
	return t.renewing
}

// renew is the error by which the workflow continues as new, with the members
// that have not ended.
func (t *transaction) renew(ctx workflow.Context) error {
	next := t.in
	next.Transactions, next.Carried = nil, nil
	for _, m := range t.members {
		if m.state.Final() {
			next.Ended = append(next.Ended, m.status())
			continue
		}
		next.Transactions = append(next.Transactions, m.tx)
		next.Carried = append(next.Carried, m.carried())
	}
	return workflow.NewContinueAsNewError(ctx, Name, next)
}

func (m *member) carried() Carried {
	return Carried{m.status(), m.firstCheck, m.refusal, m.atOnce, m.cancelled && m.undecided(), m.full, m.toldLong}
}

// resume takes over what the run before knew.
func (m *member) resume(c Carried) {
	m.state, m.resolution, m.reason, m.decided = workflows.Checking, c.Resolution, c.Reason, c.Decided
	switch {
	case m.resolution == holdfast.Commit:
		m.state = workflows.Delivering
	case c.State == workflows.Running:
		m.state, m.elsewhere = workflows.Running, true
	}
	m.stored = true
	m.checks = Checks{Answered: c.Checks, Unreached: c.Unreached}
	m.firstCheck, m.refusal, m.atOnce, m.cancelled = c.FirstCheck, c.Refusal, c.AtOnce, c.Cancelled
	m.full, m.toldLong = c.Full, c.ToldLong
}
