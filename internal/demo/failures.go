package demo

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

const refundedOnce = "1 order, 0 payment, 1 refund, 1 reservation released"

// mood makes what a service does for an order fail; "*" means every order. times 0
// means always.
func (h *house) mood(ctx context.Context, orderID, mood string, times int) error {
	_, err := h.db.ExecContext(ctx, "INSERT INTO moods (order_id, mood, times) VALUES ($1, $2, $3)", orderID, mood, times)
	return err
}

// mend ends a mood.
func (h *house) mend(ctx context.Context, orderID string) error {
	_, err := h.db.ExecContext(ctx, "DELETE FROM moods WHERE order_id = $1", orderID)
	return err
}

// orderInMood places an order that charging will fail for.
func (s *stage) orderInMood(ctx context.Context, mood string, times int) (order, error) {
	o := s.newOrder()
	if err := s.payment.mood(ctx, o.ID, mood, times); err != nil {
		return o, err
	}
	r, err := s.post(ctx, "/orders", o)
	if err != nil || r.status != http.StatusCreated {
		return o, fmt.Errorf("%s %w", r.Error, err)
	}
	return o, nil
}

func failsThenSucceeds(ctx context.Context, s *stage) (string, error) {
	o, err := s.orderInMood(ctx, "timeout", 3)
	if err != nil {
		return "", err
	}
	s.say("charging %s fails three times at once, and is tried again a second later", o.ID)
	return s.paid(ctx, o.ID)
}

func refused(ctx context.Context, s *stage) (string, error) {
	o, err := s.orderInMood(ctx, "refused", 0)
	if err != nil {
		return "", err
	}
	s.say("the card of %s is refused; its consumer's policy compensates what is refused for good", o.ID)
	if err := s.deadLetter(ctx, o.ID, workflows.Compensated); err != nil {
		return "", err
	}
	return s.refunded(ctx, o.ID)
}

func compensatedByHand(ctx context.Context, s *stage) (string, error) {
	o, err := s.orderInMood(ctx, "headache", 0)
	if err != nil {
		return "", err
	}
	if err := s.deadLetter(ctx, o.ID, workflows.Parked); err != nil {
		return "", err
	}
	before, err := s.refunds(ctx, o.ID)
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"dead", "list", "--consumer", "payments", "--state", "parked"},
		{"dead", "show", o.ID},
		{"dead", "compensate", o.ID, "--operator", "demo", "--reason", "the customer was called"},
	} {
		if err := s.operator(ctx, args...); err != nil {
			return "", err
		}
	}
	after, err := s.refunded(ctx, o.ID)
	return fmt.Sprintf("%d refund while parked; %s", before, after), err
}

func redeliveredAfterFix(ctx context.Context, s *stage) (string, error) {
	o, err := s.orderInMood(ctx, "bug", 0)
	if err != nil {
		return "", err
	}
	if err := s.deadLetter(ctx, o.ID, workflows.Parked); err != nil {
		return "", err
	}
	before, err := count(ctx, s.payment.db, "SELECT count(*) FROM payments WHERE order_id = $1", o.ID)
	if err != nil {
		return "", err
	}
	s.say("it panics at every try, and waits; now the bug is mended")
	if err := s.payment.mend(ctx, o.ID); err != nil {
		return "", err
	}
	if err := s.operator(ctx, "dead", "redeliver", o.ID,
		"--operator", "demo", "--reason", "the bug is mended"); err != nil {
		return "", err
	}
	after, err := s.paid(ctx, o.ID)
	return fmt.Sprintf("%d payment while parked; %s", before, after), err
}

// outage takes the card network away while orders come in.
func outage(ctx context.Context, s *stage) (string, error) {
	const orders = 12
	before, err := s.deadLetters(ctx)
	if err != nil {
		return "", err
	}
	if err := s.payment.mood(ctx, "*", "timeout", 0); err != nil {
		return "", err
	}
	ids, err := s.placeOrders(ctx, orders)
	if err != nil {
		return "", err
	}
	s.say("%d orders are placed, and none can be charged", orders)
	err = until(ctx, "the breaker to open", func() (bool, error) {
		out, _ := s.cli(ctx, "doctor", "--consumer", "payments") // its status tells of findings
		for line := range strings.Lines(out) {
			if strings.Contains(line, "breaker") && (strings.Contains(line, "open") || strings.Contains(line, "probing")) {
				s.say("holdfast doctor: %s", strings.TrimSpace(line))
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return "", err
	}
	s.say("the card network is back")
	if err := s.payment.mend(ctx, "*"); err != nil {
		return "", err
	}
	paid, err := s.countPaid(ctx, ids)
	if err != nil {
		return "", err
	}
	after, err := s.deadLetters(ctx)
	return fmt.Sprintf("%d of %d orders paid once, %d dead letters", paid, orders, after-before), err
}

// placeOrders places so many orders, each of which is answered as committed.
func (s *stage) placeOrders(ctx context.Context, orders int) (ids []string, err error) {
	for i := range orders {
		o := s.newOrder()
		o.ID = fmt.Sprintf("%s-%d", o.ID, i+1)
		if r, err := s.post(ctx, "/orders", o); err != nil || r.status != http.StatusCreated {
			return nil, fmt.Errorf("order %d: status %d: %s %w", i+1, r.status, r.Error, err)
		}
		ids = append(ids, o.ID)
	}
	return ids, nil
}

// countPaid waits until orders are paid, and counts those that were paid once.
func (s *stage) countPaid(ctx context.Context, ids []string) (paid int, err error) {
	for _, id := range ids {
		books, err := s.awaitPayment(ctx, id)
		if err != nil {
			return paid, err
		}
		if books == paidOnce {
			paid++
		}
	}
	return paid, nil
}

// awaitPayment waits until an order is paid, and says what the databases hold.
func (s *stage) awaitPayment(ctx context.Context, orderID string) (string, error) {
	err := until(ctx, "the payment of "+orderID, func() (bool, error) {
		n, err := count(ctx, s.payment.db, "SELECT count(*) FROM payments WHERE order_id = $1", orderID)
		return n > 0, err
	})
	if err != nil {
		return "", err
	}
	return s.books(ctx, orderID)
}

// operator runs the command holdfast as an operator would, and shows what it says.
func (s *stage) operator(ctx context.Context, args ...string) error {
	s.say("holdfast %s", strings.Join(args, " "))
	out, err := s.cli(ctx, args...)
	for line := range strings.Lines(out) {
		s.say("  %s", strings.TrimRight(line, "\n"))
	}
	return err
}

// deadLetter waits until the dead letter of an order is in a state.
func (s *stage) deadLetter(ctx context.Context, orderID string, state workflows.State) error {
	return until(ctx, "the dead letter of "+orderID+" to be "+string(state), func() (bool, error) {
		query := fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND %s = '%s' AND TaskQueue = '%s'", deadletters.Name,
			workflows.AttributeKey, orderID, workflows.AttributeState, state, workflows.DeadLetterQueue(s.prefix))
		list, err := s.temporal.ListWorkflow(ctx,
			&workflowservice.ListWorkflowExecutionsRequest{Namespace: s.stack.Namespace(), Query: query})
		if err != nil || len(list.GetExecutions()) == 0 {
			return false, err
		}
		found := list.GetExecutions()[0].GetExecution()
		s.refs = append(s.refs, workflowRef{found.GetWorkflowId(), found.GetRunId()})
		return true, nil
	})
}

// deadLetters counts the dead letters of this demo.
func (s *stage) deadLetters(ctx context.Context) (int64, error) {
	answer, err := s.temporal.CountWorkflow(ctx,
		&workflowservice.CountWorkflowExecutionsRequest{Namespace: s.stack.Namespace(),
			Query: fmt.Sprintf("WorkflowType = '%s' AND TaskQueue = '%s'",
				deadletters.Name, workflows.DeadLetterQueue(s.prefix))})
	return answer.GetCount(), err
}

func (s *stage) refunds(ctx context.Context, orderID string) (int, error) {
	return count(ctx, s.order.db, "SELECT count(*) FROM refunds WHERE order_id = $1", orderID)
}

// refunded waits until an order is given back and its stock released, and says
// what the databases hold.
func (s *stage) refunded(ctx context.Context, orderID string) (string, error) {
	released := func() (int, error) {
		return count(ctx, s.stock.db, "SELECT count(*) FROM reservations WHERE order_id = $1 AND released", orderID)
	}
	err := until(ctx, "the stock of "+orderID+" to be released", func() (bool, error) {
		n, err := released()
		return n > 0, err
	})
	if err != nil {
		return "", err
	}
	books, err := s.settled(ctx, orderID)
	if err != nil {
		return "", err
	}
	refunds, err := s.refunds(ctx, orderID)
	if err != nil {
		return "", err
	}
	stock, err := released()
	return fmt.Sprintf("%s, %d refund, %d reservation released", books, refunds, stock), err
}
