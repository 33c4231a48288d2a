package transactions

import (
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// Name is the workflow type's name.
const Name = "Transaction"

// Names of the Updates; commit, rollback and recheck are signals too.
const (
	UpdateCommit   = "commit"
	UpdateRollback = "rollback"
	UpdateRecheck  = "recheck"
	UpdateConfirm  = "confirm"
	UpdateStored   = "stored"
)

// RecoveryName is the type's name of the workflow that decides the half messages
// of one sweep of the Keeper.
const RecoveryName = "Recovery"

// Input is the input of the workflow Transaction.
type Input struct {
	// Group is the producer group.
	Group string `json:"group"`
	// Prefix is the prefix of the task queues' names; empty means "holdfast".
	Prefix string `json:"prefix,omitempty"`
	// Cohort says that the members share this workflow for speed only: what does
	// not end at once leaves into a workflow of its own. Otherwise the workflow
	// stays open until each member has ended.
	Cohort bool `json:"cohort,omitempty"`
	// ShortIDs says that HoldfastKey finds the members of a workflow that they share by their
	// [workflows.FindableID], not by their IDs. Unset in workflows of an earlier version, and
	// while processes of one may run.
	ShortIDs bool `json:"short_ids,omitempty"`
	// Transactions are the members.
	Transactions []activities.Tx `json:"transactions"`
	// Schedule says when to check back; its zero value is the default.
	Schedule Schedule `json:"schedule,omitzero"`
	// LocalTimeout bounds a local transaction; 0 means 5 minutes. What is still
	// running then is checked back.
	LocalTimeout time.Duration `json:"local_timeout,omitempty"`
	// ReachTimeout bounds how long the process that holds a closure is waited
	// for; 0 means 5 seconds.
	ReachTimeout time.Duration `json:"reach_timeout,omitempty"`
	// ConfirmAsks says that the Update confirm is not believed: it asks the outcome
	// row, or who answers in its place. Unset in workflows of an earlier version.
	ConfirmAsks bool `json:"confirm_asks,omitempty"`
	// Carried and Ended are what the run before hands over about the members
	// that have not ended, in their order, and about those that have. Empty in a
	// first run.
	Carried []Carried      `json:"carried,omitempty"`
	Ended   []MemberStatus `json:"ended,omitempty"`
}

func (in Input) withDefaults() Input {
	if in.Prefix == "" {
		in.Prefix = "holdfast"
	}
	in.Schedule = in.Schedule.WithDefaults()
	if in.LocalTimeout == 0 {
		in.LocalTimeout = 5 * time.Minute
	}
	if in.ReachTimeout == 0 {
		in.ReachTimeout = 5 * time.Second
	}
	return in
}

func (in Input) validate() error {
	if err := holdfast.ValidateName("group", in.Group); err != nil {
		return err
	}
	if len(in.Transactions) == 0 {
		return fmt.Errorf("%w: the input has no transactions", holdfast.ErrInvalid)
	}
	if len(in.Carried) > 0 && len(in.Carried) != len(in.Transactions) {
		return fmt.Errorf("%w: %d carried members for %d transactions", holdfast.ErrInvalid, len(in.Carried),
			len(in.Transactions))
	}
	seen := make(map[string]bool, len(in.Transactions))
	for _, tx := range in.Transactions {
		if tx.ID == "" || seen[tx.ID] {
			return fmt.Errorf("%w: transaction ID %q is empty or occurs twice", holdfast.ErrInvalid, tx.ID)
		}
		seen[tx.ID] = true
		if err := validateTx(tx); err != nil {
			return fmt.Errorf("transaction %s: %w", tx.ID, err)
		}
	}
	return nil
}

func validateTx(tx activities.Tx) error {
	switch tx.Form {
	case activities.Inline:
		if tx.Instance == "" {
			return fmt.Errorf("%w: an inline local transaction needs the instance that holds its closure", holdfast.ErrInvalid)
		}
	case activities.Registered:
		if tx.Handler == "" {
			return fmt.Errorf("%w: a registered local transaction needs the name of its handler", holdfast.ErrInvalid)
		}
	case activities.Split, activities.HandedOver:
	default:
		return fmt.Errorf("%w: form %q: want inline, registered, split or handed-over", holdfast.ErrInvalid, tx.Form)
	}
	if len(tx.Messages) == 0 {
		return fmt.Errorf("%w: no messages", holdfast.ErrInvalid)
	}
	for _, m := range tx.Messages {
		if err := m.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// MemberStatus tells where one transaction stands.
type MemberStatus struct {
	ID         string              `json:"id"`
	State      workflows.State     `json:"state"`
	Resolution holdfast.Resolution `json:"resolution"`
	// Reason says why it is so, where that is worth saying.
	Reason string `json:"reason,omitempty"`
	// Decided names the operator who decided, and the operator's reason.
	Decided string `json:"decided,omitempty"`
	// Checks are the check-backs that were answered, Unreached those that were
	// not.
	Checks    int      `json:"checks,omitempty"`
	Unreached int      `json:"unreached,omitempty"`
	Topics    []string `json:"topics,omitempty"`
	Keys      []string `json:"keys,omitempty"`
	// Actions are the Updates that would be accepted now. Only the query tells them.
	Actions []string `json:"actions,omitempty"`
	// Delivered are the IDs of the messages that were delivered, while others wait.
	Delivered []string `json:"delivered,omitempty"`
}

// Status is the answer to the query "status", and the workflow's result.
type Status struct {
	// Summary says how the members of a cohort ended; empty without one.
	Summary      string         `json:"summary,omitempty"`
	Transactions []MemberStatus `json:"transactions"`
}
