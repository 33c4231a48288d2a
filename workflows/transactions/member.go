package transactions

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// member is one transaction of a workflow, and all that is known of it.
type member struct {
	tx         activities.Tx
	state      workflows.State
	resolution holdfast.Resolution
	reason     string
	decided    string // the operator who decided, and why
	stored     bool   // the half message is stored
	refusal    string // why it was not

	checks     Checks
	firstCheck time.Time
	atOnce     bool // the next check-back does not wait
	attempts   int  // check-backs and deliveries that came to an end
	woken      int  // counts what should make it go on at once
	resting    bool // waits for a timer
	cancelled  bool // the workflow was asked to cancel
	elsewhere  bool // its local transaction is run, or awaited, where its closure is
	stays      bool // it could not leave its cohort, and is settled there
	goesOn     bool // parked, it is tried again by itself
	full       bool // a queue refused a message of it: it is not to be published at once
	toldLong   bool // somebody was told that it is not delivered for long
	waits      int  // how often it waited for such a queue
	asking     workflow.Mutex
}

func newMember(tx activities.Tx) *member {
	m := &member{tx: tx, state: workflows.Sending}
	if tx.Form == activities.HandedOver {
		m.state, m.reason, m.stored, m.atOnce = workflows.Checking, tx.Why, true, true
	}
	return m
}

// answer takes in what somebody said about the local transaction.
func (m *member) answer(r activities.LocalResult) {
	if m.resolution != holdfast.Unknown {
		return // decided meanwhile; the first decision stands
	}
	m.resolution = r.Resolution
	if m.state == workflows.Parked && m.resolution != holdfast.Unknown {
		m.state = workflows.Checking
	}
	if r.Error != "" {
		m.reason = r.Error
	} else if r.Resolution != holdfast.Unknown {
		m.reason = ""
	}
	if len(r.Messages) > 0 {
		m.tx.Messages = r.Messages
	}
}

func (m *member) end(s workflows.State, reason string) { m.state, m.reason = s, reason }

// unstored notes that the half message was not confirmed.
func (m *member) unstored(why string) {
	m.state, m.refusal, m.reason, m.atOnce = workflows.Checking, why, why, true
}

// failed notes that an attempt to find out, or to deliver, did not settle it.
func (m *member) failed(s workflows.State, reason string) {
	m.state, m.reason = s, reason
	m.attempts++
}

// undecided reports whether an operator's decision would still count.
func (m *member) undecided() bool {
	return m.resolution == holdfast.Unknown && !m.state.Final()
}

// wake makes whatever the member waits for happen now.
func (m *member) wake() {
	m.atOnce = true
	m.woken++
}

func (m *member) status() MemberStatus {
	s := MemberStatus{ID: m.tx.ID, State: m.state, Resolution: m.resolution, Reason: m.reason, Decided: m.decided,
		Checks: m.checks.Answered, Unreached: m.checks.Unreached, Topics: holdfast.Topics(m.tx.Messages),
		Keys: keysOf(m.tx.Messages)}
	if !m.state.Final() {
		s.Delivered = m.tx.Delivered
	}
	return s
}

func (t *transaction) status() Status {
	s := Status{Transactions: slices.Clone(t.in.Ended)}
	for _, m := range t.members {
		s.Transactions = append(s.Transactions, m.status())
	}
	if t.in.Cohort {
		s.Summary = cohortStatus(s.Transactions)
	}
	return s
}

// find returns the member with the ID txID; an empty ID means the only one.
func (t *transaction) find(txID string) *member {
	for _, m := range t.members {
		if m.tx.ID == txID || txID == "" && len(t.members) == 1 {
			return m
		}
	}
	return nil
}
