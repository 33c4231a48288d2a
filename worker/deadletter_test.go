package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// noLadder makes a message that fails a dead letter at once.
var noLadder = []time.Duration{}

// deadID is the ID of the workflow of a dead letter of the consumer payments.
func (s *site) deadID(consumer, message string) string {
	return workflows.DeadLetterID(s.at.Prefix, holdfast.DeadLetter{ID: message, Failure: holdfast.Failure{Consumer: consumer}})
}

// letter asks a dead letter's workflow where it stands; not there yet is an
// empty status.
func (s *site) letter(consumer, message string) deadletters.Status {
	s.t.Helper()
	return s.letterOf(s.deadID(consumer, message))
}

func (s *site) letterOf(workflowID string) (status deadletters.Status) {
	s.t.Helper()
	v, err := s.temporal.QueryWorkflow(s.ctx(), workflowID, "", workflows.QueryStatus)
	if err == nil {
		require.NoError(s.t, v.Get(&status))
	}
	return status
}

// letters are the IDs of all workflows of dead letters.
func (s *site) letters() (ids []string) {
	s.t.Helper()
	list, err := s.temporal.ListWorkflow(s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.at.Namespace,
		Query: fmt.Sprintf("TaskQueue = '%s'", workflows.DeadLetterQueue(s.at.Prefix))})
	require.NoError(s.t, err)
	for _, info := range list.GetExecutions() {
		ids = append(ids, info.GetExecution().GetWorkflowId())
	}
	return ids
}

// awaitLetter waits until a dead letter is in a state.
func (s *site) awaitLetter(consumer, message string, want workflows.State) (status deadletters.Status) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("the dead letter of %s to be %s", message, want), func() bool {
		status = s.letter(consumer, message)
		return status.State == want
	})
	return status
}

// askLetter sends an operator's Update to a dead letter.
func (s *site) askLetter(consumer, message, name string, change ...func(*deadletters.Request)) (status deadletters.Status, err error) {
	s.t.Helper()
	req := deadletters.Request{Operator: "ann", Reason: "looked at the books"}
	for _, c := range change {
		c(&req)
	}
	handle, err := s.temporal.UpdateWorkflow(s.ctx(), client.UpdateWorkflowOptions{WorkflowID: s.deadID(consumer, message),
		UpdateName: name, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return status, err
	}
	return status, handle.Get(s.ctx(), &status)
}

// failing is the consumer payments, which fails while err says so.
func failing(db *gorm.DB, err *atomic.Pointer[error]) worker.Consumer {
	c := payments(db)
	c.Ladder = noLadder
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if e := err.Load(); e != nil {
			return *e
		}
		return take(ctx, tx, m)
	}
	return c
}

func broken(err error) *atomic.Pointer[error] {
	var p atomic.Pointer[error]
	p.Store(&err)
	return &p
}

func TestDeadLetterIsRedelivered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(errOops)
	s.consuming(failing(s.effects, trouble))
	w := s.producer()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)

	parked := s.awaitLetter("payments", id, workflows.Parked)
	require.Equal(t, holdfast.ClassError, parked.Failure.Class)
	require.Contains(t, parked.Failure.Reason, errOops.Error())
	require.Equal(t, 3, parked.Failure.Attempts)
	require.Len(t, parked.Failure.Log, 3)
	require.Equal(t, group, parked.Group)
	require.Equal(t, id, parked.Tx)
	require.Contains(t, parked.Actions, deadletters.UpdateRedeliver)

	// Not mended yet: it dies again.
	wait := func(r *deadletters.Request) { r.Wait = patience }
	again, err := s.askLetter("payments", id, deadletters.UpdateRedeliver, wait)
	require.NoError(t, err)
	require.Equal(t, workflows.Parked, again.State)
	require.Equal(t, 1, again.Failure.Redelivery)

	trouble.Store(nil)
	handled, err := s.askLetter("payments", id, deadletters.UpdateRedeliver, wait)
	require.NoError(t, err)
	require.Equal(t, workflows.Handled, handled.State)
	require.Equal(t, 2, handled.Redeliveries)
	require.Equal(t, 1, s.effected(id))
	_, err = s.askLetter("payments", id, deadletters.UpdateDiscard)
	require.Error(t, err, "settled")
}

// TestAnswerThatIsLost: the workflow task that the answer was given to is lost
// with its process. The record that was put off ends the workflow all the same.
func TestAnswerThatIsLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(failing(s.effects, broken(errOops)))
	w := s.producer()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	s.awaitLetter("payments", id, workflows.Parked)
	b := s.broker()
	require.NoError(t, b.Postpone(s.ctx(), broker.HandledRecord{Consumer: "payments", Queue: b.ConsumerQueue("payments"), MessageID: id, Redelivery: 1}))
	s.awaitLetter("payments", id, workflows.Handled)
}

// ledger writes down what was compensated and undone.
type ledger struct {
	mu   sync.Mutex
	seen []string
}

func (l *ledger) note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, line)
}

func (l *ledger) count(line string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seen := range l.seen {
		if seen == line {
			n++
		}
	}
	return n
}

// refund is the producer group's compensation.
func refund(_ context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
	err := tx.Exec("INSERT INTO orders (id, note) VALUES (?, ?)", "refund-"+m.ID, f.Consumer+": "+f.Reason).Error
	fault.Point(insideCompensate)
	return err
}

func (s *site) refunded(id string) int {
	s.t.Helper()
	return s.count(s.orders, "SELECT count(*) FROM orders WHERE id = ?", "refund-"+id)
}

// compensating runs a producer that can refund.
func (s *site) compensating(change ...func(*worker.Worker)) *running {
	s.t.Helper()
	return s.runWith(s.options(), func(w *worker.Worker) {
		w.Compensate(placed, refund)
		for _, c := range change {
			c(w)
		}
	})
}

// TestCompensation: the payment fails for good, the order is refunded once; who
// had done its part undoes it, who had not, never will.
func TestCompensation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	undone := &ledger{}
	named := func(name string) worker.Consumer {
		c := payments(s.effects)
		c.Name, c.Ladder = name, noLadder
		c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			return tx.Exec("INSERT INTO effects (message_id, topic) VALUES (?, ?)", name+"-"+m.ID, m.Topic).Error
		}
		c.Undo = func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
			undone.note(name + " " + m.ID + " " + m.Topic + " " + f.Consumer)
			return tx.Exec("DELETE FROM effects WHERE message_id = ?", name+"-"+m.ID).Error
		}
		return c
	}
	quick, late := named("stock"), named("shipping")
	open := make(chan struct{})
	handle := late.Handle
	late.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		select {
		case <-open:
			return handle(ctx, tx, m)
		case <-ctx.Done():
			return ctx.Err()
		default:
			return holdfast.RetryAfter(time.Hour, errors.New("the ship is not here yet"))
		}
	}
	refusing := failing(s.effects, broken(holdfast.Permanent(errOops)))
	refusing.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensatePermanent}
	late.Ladder = nil // an hour's delay is on it
	s.consuming(quick, late)
	b := s.broker()
	require.NoError(t, b.DeclareConsumer(s.ctx(), refusing.Name, refusing.Topics)) // its queue gets the message, too
	w := s.compensating()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	until(t, "the stock is reserved", func() bool { return s.effected("stock-"+id) == 1 })

	s.consuming(refusing)
	end := s.awaitLetter("payments", id, workflows.Compensated)
	require.Equal(t, 1, s.refunded(id))
	require.NotEmpty(t, end.Story)
	until(t, "the stock is released", func() bool { return s.effected("stock-"+id) == 0 })
	require.Equal(t, 1, undone.count("stock "+id+" "+placed+" payments"))
	until(t, "shipping is blocked", func() bool {
		return s.count(s.effects, "SELECT count(*) FROM holdfast_inbox WHERE consumer = 'shipping' AND message_id = ?", id) == 1
	})
	close(open)

	// The message once more, to everybody: nobody does anything.
	require.NoError(t, b.PublishMessages(s.ctx(), group, id, []holdfast.Message{order(id)}))
	last := newID()
	_, err = w.Send(s.ctx(), order(last), insert)
	require.NoError(t, err)
	until(t, "what was sent later has arrived", func() bool { return s.effected("stock-"+last) == 1 && s.effected("shipping-"+last) == 1 })
	require.Zero(t, s.effected("shipping-"+id))
	require.Zero(t, s.effected("stock-"+id))
	require.Zero(t, undone.count("shipping "+id+" "+placed+" payments"), "there was nothing to undo")
	require.Equal(t, 1, s.refunded(id))
}

func TestCompensationWithoutHandlerParks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(failing(s.effects, broken(holdfast.Permanent(errOops))))
	w := s.producer()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	s.awaitLetter("payments", id, workflows.Parked)

	parked, err := s.askLetter("payments", id, workflows.UpdateCompensate)
	require.NoError(t, err)
	require.Equal(t, workflows.Parked, parked.State)
	require.Contains(t, parked.Reason, "register one with Compensate")
	w.stop()

	s.compensating()
	done, err := s.askLetter("payments", id, workflows.UpdateCompensate)
	require.NoError(t, err)
	require.Equal(t, workflows.Compensated, done.State)
	require.Equal(t, 1, s.refunded(id))
}

// TestGivenUpConsumerIsBlocked: a copy of a compensated message that is still on
// its way has no effect at the consumer that gave it up, even without Undo.
func TestGivenUpConsumerIsBlocked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(holdfast.Permanent(errOops))
	c := failing(s.effects, trouble)
	c.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	s.consuming(c)
	w := s.compensating()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	s.awaitLetter("payments", id, workflows.Compensated)
	until(t, "payments is blocked", func() bool {
		return s.count(s.effects, "SELECT count(*) FROM holdfast_inbox WHERE consumer = 'payments' AND message_id = ?", id) == 1
	})

	trouble.Store(nil)
	b := s.broker()
	require.NoError(t, b.PublishMessages(s.ctx(), group, id, []holdfast.Message{order(id)}))
	last := newID()
	_, err = w.Send(s.ctx(), order(last), insert)
	require.NoError(t, err)
	s.oneEffect(last)
	require.Zero(t, s.effected(id))
}

// TestCompensatedThoughHandled: the consumer gave a message up, then handled a
// copy of it; it is compensated nevertheless. Without Undo that is left to an
// operator, and an Undo that comes later can be used.
func TestCompensatedThoughHandled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(holdfast.Permanent(errOops))
	c := failing(s.effects, trouble)
	consumer := s.consuming(c)
	w := s.compensating()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	s.awaitLetter("payments", id, workflows.Parked)
	trouble.Store(nil)
	require.NoError(t, s.broker().PublishMessages(s.ctx(), group, id, []holdfast.Message{order(id)}))
	s.oneEffect(id)

	_, err = s.askLetter("payments", id, workflows.UpdateCompensate)
	require.NoError(t, err)
	notice := id + holdfast.CompensatedSuffix
	parked := s.awaitLetter("payments", notice, workflows.Parked)
	require.Equal(t, holdfast.ClassPermanent, parked.Failure.Class)
	require.Contains(t, parked.Failure.Reason, "has no Undo: undo by hand")
	require.Equal(t, 1, s.effected(id))
	consumer.stop()

	c.Undo = func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		return tx.Exec("DELETE FROM effects WHERE message_id = ?", m.ID).Error
	}
	s.consuming(c)
	end, err := s.askLetter("payments", notice, deadletters.UpdateRedeliver, func(r *deadletters.Request) { r.Wait = patience })
	require.NoError(t, err)
	require.Equal(t, workflows.Handled, end.State)
	require.Zero(t, s.effected(id))
}

// TestNoticeOfOwnFailure: a consumer that has asked for notices by name gets that
// of a message that it gave up itself, too, and is blocked all the same.
func TestNoticeOfOwnFailure(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(holdfast.Permanent(errOops))
	c := payments(s.effects)
	c.Topics = []string{placed, placed + holdfast.CompensatedSuffix}
	c.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if e := trouble.Load(); e != nil && m.Topic == placed {
			return *e
		}
		return take(ctx, tx, m)
	}
	s.consuming(c)
	w := s.compensating()
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)
	s.awaitLetter("payments", id, workflows.Compensated)
	s.oneEffect(id + holdfast.CompensatedSuffix)

	trouble.Store(nil)
	require.NoError(t, s.broker().PublishMessages(s.ctx(), group, id, []holdfast.Message{order(id)}))
	last := newID()
	_, err = w.Send(s.ctx(), order(last), insert)
	require.NoError(t, err)
	s.oneEffect(last)
	require.Zero(t, s.effected(id))
}

func TestInvalidCompensations(t *testing.T) {
	t.Parallel()
	for name, register := range map[string]func(*worker.Worker){
		"no function": func(w *worker.Worker) { w.Compensate(placed, nil) },
		"no topic":    func(w *worker.Worker) { w.Compensate("", refund) },
		"a wildcard":  func(w *worker.Worker) { w.Compensate("order.*", refund) },
		"twice": func(w *worker.Worker) {
			w.Compensate(placed, refund)
			w.Compensate(placed, refund)
		},
		"no database": func(w *worker.Worker) { w.Compensate(placed, refund) },
		"Undo without Handle": func(w *worker.Worker) {
			w.Consume(worker.Consumer{Name: "x", Topics: []string{"a"}, Undo: refund,
				HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
		},
		"a policy that is none": func(w *worker.Worker) {
			w.Consume(worker.Consumer{Name: "x", Topics: []string{"a"}, DeadLetters: holdfast.Policy{Action: "pray"},
				HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
		},
	} {
		w, err := worker.New(worker.Options{AMQPURL: "amqp://127.0.0.1:1", Group: group})
		require.NoError(t, err)
		register(w)
		require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid, name)
	}
}
