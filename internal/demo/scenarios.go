package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// scenario is one thing that happens to a transaction or a saga. run returns what the
// databases hold at its end.
type scenario struct {
	title    string
	expected string
	run      func(context.Context, *stage) (string, error)
}

const (
	paidOnce = "1 order, 1 payment"
	nothing  = "0 order, 0 payment"
)

func scenarios() []scenario {
	return []scenario{
		{"an order commits and is paid", paidOnce, commits},
		{"the local transaction fails: rolled back, nothing delivered", nothing, rollsBack},
		{"killed after COMMIT, before the message is published: check-back delivers", paidOnce, killedAfterCommit},
		{"killed after the half message, before the local transaction: rolled back", nothing, killedBeforeLocal},
		{"a check-back waits for a slow local transaction and follows it", paidOnce, checkBackWaits},
		{"the broker delivers twice: charged once", paidOnce, redelivered},
		{"the payment consumer is killed inside its handler: charged once", paidOnce, killedInHandler},
		{"an undecidable transaction parks; an operator commits it", "0 gift booked while parked, 1 after", parked},
		{"the workflow is terminated after the half message: the Keeper hands it over", paidOnce, terminated},
		{"the payment fails three times, then succeeds: retried, charged once", paidOnce, failsThenSucceeds},
		{"the card is refused for good: compensated by itself, the stock released", refundedOnce, refused},
		{"the payment fails for an unknown reason: waits, inspected, compensated by hand",
			"0 refund while parked; " + refundedOnce, compensatedByHand},
		{"the payment has a bug: waits, and is redelivered once the bug is mended",
			"0 payment while parked; " + paidOnce, redeliveredAfterFix},
		{"the card network is away: the breaker opens, and nothing dies",
			"12 of 12 orders paid once, 0 dead letters", outage},
	}
}

// ownBrokerScenarios change the settings of RabbitMQ, which has to be the demo's own.
func ownBrokerScenarios() []scenario {
	return []scenario{
		{"the stock service's queue is full: payments go on, and what it refuses is held for it",
			"8 of 8 orders paid once while it was full; 8 reserved", queueFull},
	}
}

func commits(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	r, err := s.post(ctx, "/orders", o)
	if err != nil || r.status != http.StatusCreated {
		return "", fmt.Errorf("%s %w", r.Error, err)
	}
	s.say("the order service answered %s for transaction %s", r.Resolution, r.TxID)
	return s.paid(ctx, o.ID)
}

func rollsBack(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	o.Amount = -1 // the table has CHECK (amount > 0)
	r, err := s.post(ctx, "/orders", o)
	if err != nil || r.status != http.StatusUnprocessableEntity {
		return "", fmt.Errorf("status %d: %s %w", r.status, r.Error, err)
	}
	s.say("the order service answered: %s", r.Error)
	return s.settled(ctx, o.ID)
}

// crash places an order with an order service that dies at the instant, starts
// the service again, and returns how the transaction ended.
func crash(ctx context.Context, s *stage, o order, at string) (transactions.MemberStatus, error) {
	if err := s.restart(ctx, s.order, at); err != nil {
		return transactions.MemberStatus{}, err
	}
	if _, err := s.post(ctx, "/orders", o); err == nil {
		return transactions.MemberStatus{}, errNotKilled
	}
	if err := s.order.killed(ctx); err != nil {
		return transactions.MemberStatus{}, err
	}
	books, err := s.books(ctx, o.ID)
	if err != nil {
		return transactions.MemberStatus{}, err
	}
	s.say("the order service died by SIGKILL; the databases hold %s; starting it again", books)
	if err := s.start(ctx, s.order, ""); err != nil {
		return transactions.MemberStatus{}, err
	}
	ref, err := s.workflowOf(ctx, o.ID)
	if err != nil {
		return transactions.MemberStatus{}, err
	}
	end, err := s.ended(ctx, ref)
	s.say("check-back: %s", end.State)
	return end, err
}

func killedAfterCommit(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	if _, err := crash(ctx, s, o, fault.LocalAfterCommit); err != nil {
		return "", err
	}
	return s.paid(ctx, o.ID)
}

func killedBeforeLocal(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	end, err := crash(ctx, s, o, fault.HalfAfterConfirm)
	if err != nil {
		return "", err
	}
	if end.State != workflows.RolledBack {
		return "", fmt.Errorf("the transaction ended as %s", end.State)
	}
	return s.settled(ctx, o.ID)
}

func checkBackWaits(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	r, err := s.post(ctx, "/held-orders", o)
	if err != nil || r.status != http.StatusCreated {
		return "", fmt.Errorf("%s %w", r.Error, err)
	}
	s.say("the local transaction of %s is open; waiting until a check-back waits for it", r.TxID)
	err = until(ctx, "a check-back that waits for the lock", func() (bool, error) {
		n, err := count(ctx, s.order.db,
			`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		return n > 0, err
	})
	if err != nil {
		return "", err
	}
	s.say("it waits; now the local transaction commits")
	if r, err := s.post(ctx, "/held-orders/"+o.ID+"/end", nil); err != nil || r.status != http.StatusOK {
		return "", fmt.Errorf("status %d: %w", r.status, err)
	}
	end, err := s.ended(ctx, s.refs[0])
	if err != nil {
		return "", err
	}
	s.say("the check-back followed it: %s", end.State)
	return s.paid(ctx, o.ID)
}

func redelivered(ctx context.Context, s *stage) (string, error) {
	return payWithKilledConsumer(ctx, s, fault.ConsumeAfterCommit, "after its COMMIT, before its acknowledgement")
}

func killedInHandler(ctx context.Context, s *stage) (string, error) {
	return payWithKilledConsumer(ctx, s, "payment.inside-handler", "inside its handler")
}

// payWithKilledConsumer has an order paid by a payment service that dies at the
// instant, and starts the service again: the broker delivers the message twice.
func payWithKilledConsumer(ctx context.Context, s *stage, at, where string) (string, error) {
	if err := s.restart(ctx, s.payment, at); err != nil {
		return "", err
	}
	o := s.newOrder()
	if r, err := s.post(ctx, "/orders", o); err != nil || r.status != http.StatusCreated {
		return "", fmt.Errorf("%s %w", r.Error, err)
	}
	if err := s.payment.killed(ctx); err != nil {
		return "", err
	}
	books, err := s.books(ctx, o.ID)
	if err != nil {
		return "", err
	}
	s.say("the payment service died by SIGKILL %s; the databases hold %s; starting it again", where, books)
	if err := s.start(ctx, s.payment, ""); err != nil {
		return "", err
	}
	return s.paid(ctx, o.ID)
}

func parked(ctx context.Context, s *stage) (string, error) {
	gift := fmt.Sprintf("gift-%d", s.number)
	r, err := s.post(ctx, "/gifts", struct {
		ID string `json:"id"`
	}{gift})
	if err != nil || r.status != http.StatusCreated {
		return "", fmt.Errorf("%s %w", r.Error, err)
	}
	s.say("nobody can tell what became of %s; waiting until it parks", r.TxID)
	err = until(ctx, "the transaction to park", func() (bool, error) {
		value, err := s.temporal.QueryWorkflow(ctx, r.WorkflowID, r.RunID, workflows.QueryStatus)
		if err != nil {
			return false, err
		}
		var status transactions.Status
		if err := value.Get(&status); err != nil {
			return false, err
		}
		return status.Transactions[0].State == workflows.Parked, nil
	})
	if err != nil {
		return "", err
	}
	booked := func() (int, error) {
		return count(ctx, s.payment.db, "SELECT count(*) FROM gift_bookeds WHERE gift_id = $1", gift)
	}
	before, err := booked()
	if err != nil {
		return "", err
	}
	args := []string{"tx", "commit", r.TxID, "--group", "orders",
		"--operator", "demo", "--reason", "the partner confirmed by telephone"}
	s.say("holdfast %s", strings.Join(args, " "))
	out, err := s.cli(ctx, args...)
	for line := range strings.Lines(out) {
		s.say("  %s", strings.TrimRight(line, "\n"))
	}
	if err != nil {
		return "", err
	}
	err = until(ctx, "the gift to be booked", func() (bool, error) {
		n, err := booked()
		return n > 0, err
	})
	after, err2 := booked()
	return fmt.Sprintf("%d gift booked while parked, %d after", before, after), errors.Join(err, err2)
}

func terminated(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	r, err := s.post(ctx, "/held-orders", o)
	if err != nil || r.status != http.StatusCreated {
		return "", fmt.Errorf("%s %w", r.Error, err)
	}
	if err := s.temporal.TerminateWorkflow(ctx, r.WorkflowID, r.RunID, "the demo's accident"); err != nil {
		return "", err
	}
	if r, err := s.post(ctx, "/held-orders/"+o.ID+"/end", nil); err != nil || r.status != http.StatusOK {
		return "", fmt.Errorf("status %d: %w", r.status, err)
	}
	s.say("the workflow of %s is terminated, its local transaction committed; waiting for the Keeper", r.TxID)
	var again workflowRef
	err = until(ctx, "the Keeper to start the workflow again", func() (bool, error) {
		d, err := s.temporal.DescribeWorkflowExecution(ctx, r.WorkflowID, "")
		if err != nil {
			return false, err
		}
		again = workflowRef{r.WorkflowID, d.GetWorkflowExecutionInfo().GetExecution().GetRunId()}
		return again.runID != r.RunID, nil
	})
	if err != nil {
		return "", err
	}
	s.refs = append(s.refs, again)
	end, err := s.ended(ctx, again)
	if err != nil {
		return "", err
	}
	s.say("handed over, checked back: %s", end.State)
	return s.paid(ctx, o.ID)
}
