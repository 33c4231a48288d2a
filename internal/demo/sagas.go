package demo

import (
	"context"
	"fmt"
	"net/http"

	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// How the sagas of the demo end.
const (
	allDone      = "completed: order confirmed, 1 reserved, 1 paid, 1 shipped"
	nothingTaken = "order cancelled, 1 released"
)

func sagaScenarios() []scenario {
	return []scenario{
		{"a saga: the order is created, its goods reserved, paid, confirmed and shipped", allDone, sagaCompletes},
		{"the stock refuses: the order is cancelled", "compensated at reserve-stock: order cancelled", stockRefuses},
		{"the payment fails for good: everything is undone", "compensated at charge-payment: " + nothingTaken, paymentFails},
		{"shipping fails eight times: the saga goes forward until it succeeds", allDone, shippingFails},
		{"the saga's worker is killed between create-order's COMMIT and its result: created once", allDone, sagaWorkerKilled},
		{"the payment service is killed between its COMMIT and its reply: charged once", allDone, participantKilled},
		{"an operator compensates a running saga: a charge that comes late is blocked",
			"compensated: " + nothingTaken, compensatedRunning},
		{"an operator compensates a completed saga: refunded, released, recalled",
			allDone + "; compensated: order cancelled, 1 released, 1 refunded, 1 recalled", compensatedAfterwards},
		{"a large order waits for its approval, and gets it", allDone, approved},
		{"a large order's approval does not come: everything is undone",
			"compensated at approve: " + nothingTaken, notApproved},
		{"nobody runs the shipping service: doctor finds it within a minute, the saga goes on once it runs",
			foundSoon + allDone, nobodyRuns},
	}
}

// checkout is what the order service says of a saga.
type checkout struct {
	Saga   string `json:"saga"`
	State  string `json:"state"`
	Step   string `json:"step"`
	Reason string `json:"reason"`
}

// sagaID is the ID of an order's saga.
func (s *stage) sagaID(o order) string {
	return workflows.SagaID(s.prefix, "orders", "order-payment", o.ID)
}

// checkOut starts the saga of an order.
func (s *stage) checkOut(ctx context.Context, o order) error {
	var c checkout
	status, err := s.call(ctx, http.MethodPost, "/checkouts", o, &c)
	if err != nil || status != http.StatusAccepted {
		return fmt.Errorf("check %s out: status %d: %w", o.ID, status, err)
	}
	return s.note(ctx, c.Saga)
}

// note remembers a workflow, so that its page can be shown.
func (s *stage) note(ctx context.Context, id string) error {
	d, err := s.temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return err
	}
	s.say("saga %s", id)
	s.refs = append(s.refs, workflowRef{id, d.GetWorkflowExecutionInfo().GetExecution().GetRunId()})
	return nil
}

// checkedOut waits for the end of an order's saga and says how it ended, and what
// the databases hold.
func (s *stage) checkedOut(ctx context.Context, o order) (string, error) {
	var c checkout
	err := until(ctx, "the end of the saga of "+o.ID, func() (bool, error) {
		c = checkout{}
		status, err := s.call(ctx, http.MethodGet, "/checkouts/"+o.ID, nil, &c)
		return status == http.StatusOK && c.State != "pending", err
	})
	if err != nil {
		return "", err
	}
	if c.Step != "" {
		c.State += " at " + c.Step
	}
	if c.Reason != "" {
		s.say("the order service says: %s: %s", c.State, c.Reason)
	}
	l, err := s.ledger(ctx, o.ID)
	return fmt.Sprintf("%s: %v", c.State, l), err
}

// runSaga runs the saga of an order to its end.
func (s *stage) runSaga(ctx context.Context, o order) (string, error) {
	if err := s.checkOut(ctx, o); err != nil {
		return "", err
	}
	return s.checkedOut(ctx, o)
}

func sagaCompletes(ctx context.Context, s *stage) (string, error) {
	return s.runSaga(ctx, s.newOrder())
}

func stockRefuses(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	o.Item = "figurehead" // there are none
	return s.runSaga(ctx, o)
}

func paymentFails(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	if err := s.payment.mood(ctx, o.ID, "bug", 0); err != nil {
		return "", err
	}
	s.say("charging %s panics at every try, until the payment service gives up", o.ID)
	return s.runSaga(ctx, o)
}

func shippingFails(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	if err := s.shipping.mood(ctx, o.ID, "strike", 8); err != nil {
		return "", err
	}
	s.say("the carriers are on strike; the shipping service gives up, and the saga asks it again")
	return s.runSaga(ctx, o)
}

func sagaWorkerKilled(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	if err := s.restart(ctx, s.order, fault.SagaDoAfterCommit); err != nil {
		return "", err
	}
	_ = s.checkOut(ctx, o) // the service may die before it answers
	if err := s.revive(ctx, s.order, o); err != nil {
		return "", err
	}
	return s.checkedOut(ctx, o)
}

func participantKilled(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	if err := s.restart(ctx, s.payment, fault.SagaDoAfterCommit); err != nil {
		return "", err
	}
	if err := s.checkOut(ctx, o); err != nil {
		return "", err
	}
	if err := s.revive(ctx, s.payment, o); err != nil {
		return "", err
	}
	return s.checkedOut(ctx, o)
}

// revive waits until the service has died by its own hand, and starts it again.
func (s *stage) revive(ctx context.Context, h *house, o order) error {
	if err := h.killed(ctx); err != nil {
		return err
	}
	l, err := s.ledger(ctx, o.ID)
	if err != nil {
		return err
	}
	s.say("the %s service died by SIGKILL; the databases hold: %v; starting it again", h.name, l)
	return s.start(ctx, h, "")
}

func compensatedRunning(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	const always = 1_000_000
	if err := s.payment.mood(ctx, o.ID, "later", always); err != nil {
		return "", err
	}
	if err := s.checkOut(ctx, o); err != nil {
		return "", err
	}
	err := until(ctx, "the payment service to try", func() (bool, error) {
		n, err := count(ctx, s.payment.db, "SELECT count(*) FROM moods WHERE order_id = $1 AND times < $2", o.ID, always)
		return n > 0, err
	})
	if err != nil {
		return "", err
	}
	s.say("the card network asked to come again in 10 s; the operator does not wait for it")
	if err := s.compensateSaga(ctx, o); err != nil {
		return "", err
	}
	// The message that waits for those 10 s comes to nothing: the scenarios after
	// this one take longer, and then the audit sees it.
	if err := s.payment.mend(ctx, o.ID); err != nil {
		return "", err
	}
	return s.checkedOut(ctx, o)
}

func compensatedAfterwards(ctx context.Context, s *stage) (string, error) {
	o := s.newOrder()
	before, err := s.runSaga(ctx, o)
	if err != nil {
		return "", err
	}
	// Whoever waits for a saga is told at the last step's end; its workflow closes
	// a moment later.
	if err := s.temporal.GetWorkflow(ctx, s.sagaID(o), "").Get(ctx, nil); err != nil {
		return "", err
	}
	if err := s.compensateSaga(ctx, o); err != nil {
		return "", err
	}
	undo := workflows.SagaUndoID(s.sagaID(o))
	if err := s.note(ctx, undo); err != nil {
		return "", err
	}
	var end sagas.Status
	if err := s.temporal.GetWorkflow(ctx, undo, "").Get(ctx, &end); err != nil {
		return "", err
	}
	l, err := s.ledger(ctx, o.ID)
	return fmt.Sprintf("%s; %s: %v", before, end.State, l), err
}

// compensateSaga has an operator look at the saga of an order, and undo it.
func (s *stage) compensateSaga(ctx context.Context, o order) error {
	for _, args := range [][]string{
		{"saga", "show", s.sagaID(o)},
		{"saga", "compensate", s.sagaID(o), "--operator", "demo", "--reason", "the customer called"},
	} {
		if err := s.operator(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// largeOrder is one that a person has to approve.
func (s *stage) largeOrder() order {
	o := s.newOrder()
	o.Amount = 250_000
	return o
}

func approved(ctx context.Context, s *stage) (string, error) {
	o := s.largeOrder()
	if err := s.checkOut(ctx, o); err != nil {
		return "", err
	}
	status, err := s.call(ctx, http.MethodPost, "/checkouts/"+o.ID+"/approve?by=demo", nil, nil)
	if err != nil || status != http.StatusNoContent {
		return "", fmt.Errorf("approve %s: status %d: %w", o.ID, status, err)
	}
	s.say("somebody approves it")
	return s.checkedOut(ctx, o)
}

func notApproved(ctx context.Context, s *stage) (string, error) {
	o := s.largeOrder()
	s.say("nobody looks at %s within the 10 s that the demo's order service allows", o.ID)
	return s.runSaga(ctx, o)
}
