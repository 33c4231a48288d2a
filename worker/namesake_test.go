package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// forgotten waits until Temporal has forgotten these workflows, which it is told to.
func (s *site) forgotten(workflowIDs ...string) {
	s.t.Helper()
	for _, id := range workflowIDs {
		_, err := s.temporal.WorkflowService().DeleteWorkflowExecution(s.ctx(), &workflowservice.DeleteWorkflowExecutionRequest{
			Namespace: s.at.Namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}})
		require.NoError(s.t, err)
	}
	for _, id := range workflowIDs {
		until(s.t, "it is forgotten", func() bool {
			_, err := s.temporal.DescribeWorkflow(s.ctx(), id, "")
			var none *serviceerror.NotFound
			return errors.As(err, &none)
		})
	}
}

// TestOpsS14TwoPrefixes: two installations in one namespace use the same keys and IDs,
// and neither meets the other; nor do their sagas in one database.
func TestOpsS14TwoPrefixes(t *testing.T) {
	t.Parallel()
	prod, staging, third := sagaSite(t), sagaSite(t), sagaSite(t)
	third.orders, third.at.OrdersURL = prod.orders, prod.at.OrdersURL
	def := travel(local("pay"))
	key := newID()
	for n, s := range []*site{prod, staging, third} {
		s.consuming(failing(s.effects, broken(holdfast.Permanent(errOops))))
		w := s.agency(def)
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: key, Price: n})
		require.NoError(t, err)
		j, err := h.Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, n, j.Price)
		require.Equal(t, workflows.SagaID(s.at.Prefix, group, "travel", key), h.ID())

		if s != third { // transactions are their database's
			receipt, err := w.Send(s.ctx(), order(key), insert)
			require.NoError(t, err)
			require.Equal(t, holdfast.Commit, receipt.Resolution)
			require.Equal(t, 1, s.ordered(key))
			s.awaitLetter("payments", key, workflows.Parked)
			_, err = w.Send(s.ctx(), order(key), insert)
			require.ErrorIs(t, err, holdfast.ErrDuplicate)
		}
	}
	require.Equal(t, []string{"do pay", "do pay"}, prod.logged(prod.orders, key), "its own and the third's")
	require.Equal(t, []string{"do pay"}, staging.logged(staging.orders, key))
}

// TestIDsFromBeforePrefixes: what runs since before the prefix was part of the IDs is
// found, joined, and a duplicate.
func TestIDsFromBeforePrefixes(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.consuming(payments(s.effects))
	def := travel(saga.Wait("approve", 0), local("pay"))
	w := s.agency(def)
	j := journey{ID: newID(), Price: 1}
	in := sagas.Input{ID: workflows.SagaID("", group, "travel", j.ID), Group: group, Prefix: s.at.Prefix, Name: "travel", Key: j.ID,
		Data: []byte(`{"id":"` + j.ID + `", "price":1}`)}
	_, err := s.temporal.ExecuteWorkflow(s.ctx(), sagas.StartOptions(s.at.Prefix, in), sagas.Name, in)
	require.NoError(t, err)

	second, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.Equal(t, in.ID, second.ID())
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: j.ID, Price: 2})
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	joined := worker.JoinSaga(w.Worker, def, j.ID)
	require.NoError(t, joined.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	_, err = joined.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, []string{"do pay"}, s.logged(s.orders, j.ID))

	id := newID()
	tx := activities.Tx{ID: id, Form: activities.HandedOver, Messages: []holdfast.Message{order(id)}}
	options := transactions.StartOptions(s.at.Prefix, group, tx)
	options.ID = workflows.WorkflowID("", group, id)
	_, err = s.temporal.ExecuteWorkflow(s.ctx(), options, transactions.Name,
		transactions.Input{Group: group, Prefix: s.at.Prefix, Transactions: []activities.Tx{tx}})
	require.NoError(t, err)
	_, err = w.Send(s.ctx(), order(id), insert)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.ErrorContains(t, err, options.ID)
}

// TestOneKeyInARollingUpgrade: a saga is one, whether a process with RollingUpgrade starts it or one
// without, and in whichever order a caller comes back to them.
func TestOneKeyInARollingUpgrade(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	require.NotEqual(t, workflows.DefaultPrefix, s.at.Prefix, "which is part of the IDs")
	s.cohorts = true
	shared, quick := travel(local("pay")), quickTravel(local("pay"))
	quick.Name = "quick"
	o := s.options()
	registers := func(w *worker.Worker) { w.Saga(shared); w.Saga(quick) }
	without := s.runWith(o, registers)
	o.RollingUpgrade = true
	with := s.runWith(o, registers)
	for _, def := range []saga.Saga[journey]{shared, quick} {
		for _, order := range [][]*running{{with, without, with}, {without, with, without}} {
			j := journey{ID: newID(), Price: 1}
			for i, w := range order {
				h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
				require.NoError(t, err)
				require.Equal(t, workflows.SagaID(s.at.Prefix, group, def.Name, j.ID), h.ID())
				require.NoError(t, wait(s, h), "%s, start %d", def.Name, i)
			}
			require.Equal(t, []string{"do pay"}, s.logged(s.orders, j.ID), def.Name)
		}
	}
}

// TestOneKeyTwoStates: a saga's key that was used for another state is a duplicate,
// also once Temporal has forgotten the first; neither does nor undoes it anything of
// the first's.
func TestOneKeyTwoStates(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.participants(s.seats(nil))
	def := travel(seat().Retry(once), local("pay"))
	w := s.agency(def)
	first, other := journey{ID: newID(), Price: 100}, journey{}
	other.ID, other.Price = first.ID, 999
	completes := func() {
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, first)
		require.NoError(t, err)
		j, err := h.Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, 100, j.Price)
		require.Equal(t, []string{"do seat"}, s.logged(s.effects, first.ID))
		require.Equal(t, []string{"do pay"}, s.logged(s.orders, first.ID))
	}
	completes()
	_, err := worker.StartSaga(s.ctx(), w.Worker, def, other)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.ErrorContains(t, err, "with other content")
	id := workflows.SagaID(s.at.Prefix, group, "travel", first.ID)
	require.ErrorContains(t, err, id)
	completes() // the same again joins

	// One that an earlier version started: without a memo.
	short := travel(local("pay"))
	short.Name = "short"
	v := s.agency(short)
	in := sagas.Input{ID: workflows.SagaID(s.at.Prefix, group, "short", first.ID), Group: group, Prefix: s.at.Prefix, Name: "short",
		Key: first.ID, Data: []byte(`{"price":100, "id":"` + first.ID + `"}`)}
	run, err := s.temporal.ExecuteWorkflow(s.ctx(), sagas.StartOptions(s.at.Prefix, in), sagas.Name, in)
	require.NoError(t, err)
	require.NoError(t, run.Get(s.ctx(), nil))
	_, err = worker.StartSaga(s.ctx(), v.Worker, short, other)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	_, err = worker.StartSaga(s.ctx(), v.Worker, short, first)
	require.NoError(t, err, "the same, with its fields in another order")
	s.consuming(payments(s.effects))
	tx := newID()
	receipt, err := w.Send(s.ctx(), order(tx), insert)
	require.NoError(t, err)
	s.forgotten(id, in.ID, receipt.WorkflowID)
	unlike := order(tx)
	unlike.Body = []byte("something else")
	_, err = w.Send(s.ctx(), unlike, insert)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.Equal(t, 1, s.ordered(tx))
	h, err := worker.StartSaga(s.ctx(), v.Worker, short, first)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.NoError(t, err, "its row says what it did")
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, other)
	require.ErrorIs(t, err, holdfast.ErrDuplicate, "Temporal does not know better, but the begin row does")
	h, err = worker.StartSaga(s.ctx(), s.sender().Worker, def, other)
	require.NoError(t, err, "a process without a database does not know, either")
	require.ErrorIs(t, wait(s, h), holdfast.ErrDuplicate)
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, first.ID), "the first's still stands")
	require.Equal(t, []string{"do pay", "do pay"}, s.logged(s.orders, first.ID), "one of each saga, none undone")
}

// TestOpsS02ForgedCall: a call to the seats' participant that names the payment's step.
// Its reply has no token, and its row is none of the payment's, which has the same
// database.
func TestOpsS02ForgedCall(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(seat(), saga.Message("pay", "payment.charge", "payment.refund").Retry(once).AsPivot())
	s.participants(s.seats(nil))
	s.consumers["payment.charge"] = true
	b := s.broker()
	require.NoError(t, b.DeclareConsumer(s.ctx(), "payment.charge", []string{"payment.charge", "payment.refund"})) // not there at the moment
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "the payment is called", func() bool {
		messages, _ := s.waiting(b, b.ConsumerQueue("payment.charge"))
		pay := s.sagaStatus(h.ID()).Core.Steps["pay"]
		return messages > 0 && pay != nil && pay.Status == core.Running
	})
	forged := broker.SagaCall{Saga: h.ID(), Workflow: h.ID(), Group: group, Step: "pay"}
	forge := func() {
		require.NoError(t, b.PublishSagaCall(s.ctx(), forged, holdfast.Message{Topic: "seat.take", ContentType: "application/json", Body: []byte(`{"id":"forged"}`)}))
	}
	forge()
	until(t, "its reply does not count", func() bool { return s.sagaStatus(h.ID()).Untrusted == 1 })
	forged.Token = "0123456789abcdef0123456789abcdef"
	forge()
	until(t, "a token that is none", func() bool { return s.sagaStatus(h.ID()).Untrusted == 2 })
	status := s.sagaStatus(h.ID())
	require.Equal(t, "running", string(status.Core.Steps["pay"].Status))
	require.Equal(t, "untrusted", status.Story[len(status.Story)-1].What)

	charged := make(chan string, 1)
	s.participants(worker.Participant{Topic: "payment.charge", UndoTopic: "payment.refund", DB: s.effects, Tries: 1, Ladder: []time.Duration{},
		Do: worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, j journey) (any, error) {
			charged <- j.ID
			return nil, nil
		})})
	_, err = h.Wait(s.ctx())
	if err == nil {
		require.Equal(t, j.ID, next(t, charged), "completed, and nobody was charged")
		return
	}
	require.Contains(t, stood(t, err, holdfast.ErrSagaCompensated).Reason, "was done by the participant of topic")
	require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, j.ID))
}
