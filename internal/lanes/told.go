package lanes

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// watchError is the answer to the caller of a transaction whose workflow failed.
func watchError(txID, workflowID string, err error) error {
	var failure *temporal.ApplicationError
	if errors.As(err, &failure) && failure.Type() == workflows.InvalidInput {
		return fmt.Errorf("%w: %s", holdfast.ErrInvalid, failure.Message())
	}
	return undecided(txID, fmt.Errorf("workflow %s: %w", workflowID, err))
}

// alreadyResolved is the error of a confirmation that a workflow refused, if err is that.
func alreadyResolved(err error) (said error, is bool) {
	var failure *temporal.ApplicationError
	if !errors.As(err, &failure) || failure.Type() != "AlreadyResolved" {
		return nil, false
	}
	return fmt.Errorf("%w: %s", holdfast.ErrAlreadyResolved, failure.Message()), true
}

// memberAnswer is the answer to the caller of a transaction whose workflow ended.
func memberAnswer(m transactions.MemberStatus) answer {
	switch m.State {
	case workflows.Committed:
		return answer{resolution: holdfast.Commit}
	case workflows.Refused:
		return answer{resolution: holdfast.Rollback, err: fmt.Errorf("%w: %s", holdfast.ErrNotStored, m.Reason)}
	case workflows.RolledBack:
		reason := m.Reason
		if reason == "" {
			reason = "a check-back found that the local transaction had not committed"
		}
		return answer{resolution: holdfast.Rollback, err: rolledBack(errors.New(reason))}
	}
	if m.Resolution == holdfast.Commit {
		return answer{resolution: holdfast.Commit, err: pendingDelivery(m.ID, errors.New(m.Reason))}
	}
	return answer{err: undecided(m.ID, errors.New(m.Reason))}
}

// Told is receipt and what its caller is told of whom nothing but the end of the workflow
// is known, or where that stands.
func Told(receipt holdfast.Receipt, m transactions.MemberStatus) (holdfast.Receipt, error) {
	c := pendingCore{id: m.ID}
	c.onResult(m)
	return c.told(receipt)
}

func rolledBack(cause error) error {
	switch {
	case cause == nil:
		return holdfast.ErrRolledBack
	case aboutAnother(cause):
		cause = innerError{cause}
	}
	return fmt.Errorf("%w: %w", holdfast.ErrRolledBack, cause)
}

// innerError is the error of a local transaction that sent another one, which is
// not rolled back with it: that one's end is not to be taken for this one's.
type innerError struct{ err error }

func aboutAnother(err error) bool {
	return errors.Is(err, holdfast.ErrUndecided) || errors.Is(err, holdfast.ErrDeliveryPending)
}

func (e innerError) Error() string        { return e.err.Error() }
func (e innerError) As(target any) bool   { return errors.As(e.err, target) }
func (e innerError) Is(target error) bool { return !aboutAnother(target) && errors.Is(e.err, target) }

func undecided(txID string, cause error) error {
	var away *holdfast.UnavailableError
	switch {
	case cause == nil:
		return fmt.Errorf("%w: transaction %s will end as the database says", holdfast.ErrUndecided, txID)
	case errors.As(cause, &away): // not wrapped: by itself it would mean that nothing was run
		return fmt.Errorf("%w: transaction %s will end as the database says: %v", holdfast.ErrUndecided, txID, cause)
	}
	return fmt.Errorf("%w: transaction %s will end as the database says: %w", holdfast.ErrUndecided, txID, cause)
}

// pendingDelivery is the error of a committed transaction whose messages are not
// delivered yet.
func pendingDelivery(txID string, why error) error {
	return fmt.Errorf("%w: transaction %s: %w", holdfast.ErrDeliveryPending, txID, why)
}

// duplicate is the error of a second use of a transaction's ID.
func duplicate(workflowID string) error {
	return fmt.Errorf("%w: workflow %s is there already: use a new ID for new work", holdfast.ErrDuplicate, workflowID)
}
