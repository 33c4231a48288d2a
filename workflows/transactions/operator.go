package transactions

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// Request is the argument of the Updates and signals commit, rollback and
// recheck.
type Request struct {
	// Tx is the transaction's ID; empty means the workflow's only one.
	Tx string `json:"tx,omitempty"`
	// Operator is who asks. Required.
	Operator string `json:"operator"`
	// Reason is why. Required.
	Reason string `json:"reason"`
	// Force decides even though the database cannot be asked. If it says
	// otherwise later, messages and data disagree.
	Force bool `json:"force,omitempty"`
	// Unrouted asks only for what waits because no consumer is bound for a message; of
	// anything else it is refused.
	Unrouted bool `json:"unrouted,omitempty"`
}

// Confirmation is the argument of the Update confirm: the application's own
// second confirmation of a split transaction.
type Confirmation struct {
	Tx         string              `json:"tx"`
	Resolution holdfast.Resolution `json:"resolution"`
	// Messages are the messages to deliver, if the local transaction changed
	// them.
	Messages []holdfast.Message `json:"messages,omitempty"`
}

// listen sets the handlers: the query, the Updates and the signals, and the
// watch for a request to cancel on parent.
func (t *transaction) listen(ctx, parent workflow.Context) error {
	for _, m := range t.members {
		m.asking = workflow.NewMutex(ctx)
	}
	err := workflow.SetQueryHandlerWithOptions(ctx, workflows.QueryStatus,
		func() (Status, error) { return t.answer(), nil },
		workflow.QueryHandlerOptions{Description: "Where each transaction of this workflow stands."})
	if err != nil {
		return err
	}
	for _, a := range t.actions() {
		if err := t.listenFor(ctx, a); err != nil {
			return err
		}
	}
	if err := t.listenToApplication(ctx); err != nil {
		return err
	}
	workflow.GoNamed(ctx, "cancel", func(ctx workflow.Context) {
		parent.Done().Receive(ctx, nil)
		for _, m := range t.members {
			if m.undecided() {
				m.cancelled = true
				m.wake()
			}
		}
	})
	return nil
}

// answer is the status, with what an operator can do.
func (t *transaction) answer() Status {
	s := t.status()
	first := len(s.Transactions) - len(t.members)
	for i, m := range t.members {
		for _, a := range t.actions() {
			if a.check(m) == nil {
				s.Transactions[first+i].Actions = append(s.Transactions[first+i].Actions, a.name)
			}
		}
	}
	return s
}

// action is something that an operator can ask for.
type action struct {
	name, description string
	check             func(*member) error
	do                func(workflow.Context, *member, Request) error
}

func (t *transaction) actions() []action {
	return []action{
		{UpdateCommit, "Decide that the local transaction committed and deliver its messages. Refused if the database " +
			"says that it rolled back. Argument: operator, reason, and tx where there are several.",
			t.canDecide, t.decideAs(holdfast.Commit)},
		{UpdateRollback, "Decide that the local transaction rolled back and forget its messages; it can then never " +
			"commit. Refused if the database says that it committed. Argument: operator, reason, and tx where there are " +
			"several.",
			t.canDecide, t.decideAs(holdfast.Rollback)},
		{UpdateRecheck, "Check back, or try to deliver, now instead of later. Argument: operator, reason, and tx where " +
			"there are several.",
			t.canRecheck, t.recheck},
	}
}

func (t *transaction) decideAs(r holdfast.Resolution) func(workflow.Context, *member, Request) error {
	return func(ctx workflow.Context, m *member, req Request) error {
		attempts := m.attempts
		if _, err := t.decide(ctx, m, r, req); err != nil {
			return err
		}
		return t.awaitProgress(ctx, m, attempts)
	}
}

func (t *transaction) recheck(ctx workflow.Context, m *member, _ Request) error {
	attempts := m.attempts
	m.wake()
	return t.awaitProgress(ctx, m, attempts)
}

// awaitProgress waits until m is at its end, or one more attempt has failed, or
// what follows happens in a new run.
func (t *transaction) awaitProgress(ctx workflow.Context, m *member, attempts int) error {
	return workflow.Await(ctx, func() bool { return m.state.Final() || m.attempts > attempts || t.renewing })
}

// listenFor offers a as an Update, which answers, and as a signal, which does
// not.
func (t *transaction) listenFor(ctx workflow.Context, a action) error {
	check := func(req Request) (*member, error) {
		m, err := t.requested(req)
		switch {
		case err != nil:
			return nil, err
		case req.Unrouted && !unrouted(m.reason):
			return m, fmt.Errorf("transaction %s does not wait for a consumer", m.tx.ID)
		}
		return m, a.check(m)
	}
	err := workflow.SetUpdateHandlerWithOptions(ctx, a.name, func(ctx workflow.Context, req Request) (MemberStatus,
		error) {
		ctx, _ = workflow.NewDisconnectedContext(ctx) // an operator may decide after a cancel, too
		m, err := check(req)
		if err != nil {
			return MemberStatus{}, temporal.NewNonRetryableApplicationError(err.Error(), "Refused", nil)
		}
		if err := a.do(ctx, m, req); err != nil {
			return MemberStatus{}, err
		}
		return m.status(), nil
	}, workflow.UpdateHandlerOptions{
		Description: a.description,
		Validator: func(req Request) error {
			if err := workflows.RefuseReserved(req.Operator); err != nil {
				return err
			}
			_, err := check(req)
			return err
		},
	})
	if err != nil {
		return err
	}
	signals := workflow.GetSignalChannelWithOptions(ctx, a.name, workflow.SignalChannelOptions{Description: a.description})
	workflow.GoNamed(ctx, "signal "+a.name, func(ctx workflow.Context) {
		for {
			var req Request
			signals.Receive(ctx, &req)
			m, err := check(req)
			reserved := workflows.RefuseReservedSignal(ctx, req.Operator)
			switch {
			case reserved != nil:
				err = reserved
			case err == nil:
				err = a.do(ctx, m, req)
			case m != nil && t.in.Cohort && !t.settledHere(m):
				err = t.forward(ctx, m, a, req)
			}
			if err != nil {
				workflow.GetLogger(ctx).Warn("signal refused", "signal", a.name, "operator", req.Operator, "error", err)
			}
		}
	})
	return nil
}

// settledHere reports whether m has ended without leaving.
func (t *transaction) settledHere(m *member) bool {
	return m.state.Final() && m.state != workflows.Left
}

// forward waits until m has left the cohort, and sends the signal after it. One
// that has ended instead needs none; for one that could not leave, it counts here.
func (t *transaction) forward(ctx workflow.Context, m *member, a action, req Request) error {
	t.forwarding++
	defer func() { t.forwarding-- }()
	if err := workflow.Await(ctx, func() bool { return m.state.Final() || m.stays }); err != nil || t.settledHere(m) {
		return err
	}
	if m.state == workflows.Left {
		return workflow.SignalExternalWorkflow(ctx, t.ownID(m), "", a.name, req).Get(ctx, nil)
	}
	if err := a.check(m); err != nil {
		return err
	}
	return a.do(ctx, m, req)
}

// requested returns the member that req is about.
func (t *transaction) requested(req Request) (*member, error) {
	m := t.find(req.Tx)
	switch {
	case req.Operator == "" || req.Reason == "":
		return nil, workflows.ErrNobodyAsks
	case m == nil && req.Tx == "":
		return nil, fmt.Errorf("this workflow holds %d transactions: name one in \"tx\"", len(t.members))
	case m == nil:
		return nil, fmt.Errorf("this workflow does not hold transaction %s", req.Tx)
	}
	return m, nil
}

// outOfReach says why an operator can do nothing about m here; nil where one can.
func (t *transaction) outOfReach(m *member) error {
	own := t.ownID(m)
	switch {
	case m.state == workflows.Left:
		return fmt.Errorf("transaction %s goes on in a workflow of its own: send this to %s", m.tx.ID, own)
	case m.state.Final():
		return fmt.Errorf("transaction %s is settled already: %s", m.tx.ID, m.state)
	case t.recovery && !m.stays:
		return fmt.Errorf("transaction %s is %s in a recovery, where it is checked back with others, then ends or goes on "+
			"in a workflow of its own: then send this to %s", m.tx.ID, m.state, own)
	case t.in.Cohort && !m.stays:
		return fmt.Errorf("transaction %s is %s in a cohort, where it ends in a moment or goes on in a workflow of its "+
			"own: then send this to %s", m.tx.ID, m.state, own)
	}
	return nil
}

func (t *transaction) canDecide(m *member) error {
	if err := t.outOfReach(m); err != nil {
		return err
	}
	switch {
	case m.resolution != holdfast.Unknown:
		return fmt.Errorf("transaction %s is decided already: %s; to deliver it now, use recheck", m.tx.ID, m.resolution)
	case m.state == workflows.Sending || m.state == workflows.Running:
		return fmt.Errorf("transaction %s is still %s: wait until it is checked back", m.tx.ID, m.state)
	}
	return nil
}

func (t *transaction) canRecheck(m *member) error {
	if err := t.outOfReach(m); err != nil {
		return err
	}
	switch {
	case m.state == workflows.Sending || m.state == workflows.Running:
		return fmt.Errorf("transaction %s is still %s: there is nothing to check back", m.tx.ID, m.state)
	case m.state == workflows.Delivering && !m.resting:
		return fmt.Errorf("transaction %s is being delivered: Temporal repeats that until the broker confirms", m.tx.ID)
	}
	return nil
}

// decide makes an operator's resolution the truth, if the database agrees.
func (t *transaction) decide(ctx workflow.Context, m *member, r holdfast.Resolution,
	req Request) (holdfast.Resolution, error) {
	if err := m.asking.Lock(ctx); err != nil {
		return holdfast.Unknown, err
	}
	defer m.asking.Unlock()
	if !m.undecided() {
		return m.resolution, fmt.Errorf("transaction %s was decided meanwhile: %s", m.tx.ID, m.resolution)
	}
	var result activities.LocalResult
	err := workflow.ExecuteActivity(t.asked(ctx, decideSummary(m, r, req)), activities.Decide,
		activities.LocalInput{Group: t.in.Group, Transaction: m.tx, Resolution: r, Force: req.Force}).Get(ctx, &result)
	if err != nil {
		return holdfast.Unknown, refusal(err)
	}
	m.decided = req.Operator + ": " + req.Reason
	m.answer(result)
	return m.resolution, nil
}

// listenToApplication offers the Updates that a split transaction's own
// application uses.
func (t *transaction) listenToApplication(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateStored,
		func(ctx workflow.Context, txID string) (MemberStatus, error) {
			ctx, _ = workflow.NewDisconnectedContext(ctx)
			m := t.find(txID)
			if err := workflow.Await(ctx, func() bool { return m.stored || m.state.Final() || t.renewing }); err != nil {
				return MemberStatus{}, err
			}
			return m.status(), nil
		}, workflow.UpdateHandlerOptions{
			Description: "Wait until the half message is stored. For the application; argument: the transaction's ID.",
			Validator:   t.known,
		})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateConfirm,
		func(ctx workflow.Context, c Confirmation) (MemberStatus, error) {
			ctx, _ = workflow.NewDisconnectedContext(ctx)
			m := t.find(c.Tx)
			attempts, again := m.attempts, m.resolution == c.Resolution
			if !t.in.ConfirmAsks {
				m.answer(activities.LocalResult{Resolution: c.Resolution, Messages: c.Messages})
			} else if err := t.proveConfirmed(ctx, m); err != nil {
				return MemberStatus{}, err
			}
			switch {
			case again:
				return m.status(), nil // told before: whatever comes of it comes without us
			case m.resolution == c.Resolution:
				err := t.awaitProgress(ctx, m, attempts)
				return m.status(), err
			}
			return m.status(), temporal.NewNonRetryableApplicationError(
				fmt.Sprintf("transaction %s was decided before: %s", c.Tx, m.resolution), "AlreadyResolved", nil)
		}, workflow.UpdateHandlerOptions{
			Description: "The application's second confirmation of a split transaction: what became of it is read now, and " +
				"the messages are those of the outcome row or the half message. Not for operators: use commit or rollback.",
			Validator: func(c Confirmation) error {
				if c.Resolution == holdfast.Unknown {
					return errors.New("confirm with commit or rollback")
				}
				return t.known(c.Tx)
			},
		})
}

// unprovenType is the type of the error of an Update confirm that the producer
// group's database, or its Checker, does not bear out yet. It is checked back.
const unprovenType = "Unproven"

// proveConfirmed finds out what became of a split transaction whose application says
// that it has ended: an Update can be sent by anybody.
func (t *transaction) proveConfirmed(ctx workflow.Context, m *member) error {
	if err := m.asking.Lock(ctx); err != nil {
		return err
	}
	defer m.asking.Unlock()
	if !m.undecided() {
		return nil
	}
	var result activities.LocalResult
	err := t.local(ctx, activities.CheckBack, 10*time.Second, "confirmed: read the outcome of transaction "+m.tx.ID,
		activities.LocalInput{Group: t.in.Group, Transaction: m.tx}, &result)
	switch {
	case err != nil:
		return temporal.NewNonRetryableApplicationError("its outcome could not be read: "+workflows.RootMessage(err),
			unprovenType, nil)
	case result.Resolution == holdfast.Unknown:
		return temporal.NewNonRetryableApplicationError("its outcome is not known yet: "+result.Error, unprovenType, nil)
	}
	m.answer(result)
	return nil
}

func (t *transaction) known(txID string) error {
	if m := t.find(txID); m == nil || m.tx.Form != activities.Split {
		return fmt.Errorf("this workflow does not hold a split transaction %s", txID)
	}
	return nil
}

// refusal turns an activity's error into what the operator reads.
func refusal(err error) error {
	var failure *temporal.ApplicationError
	if errors.As(err, &failure) {
		return temporal.NewNonRetryableApplicationError(failure.Message(), failure.Type(), nil)
	}
	return err
}
