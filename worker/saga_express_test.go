package worker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

// quickTravel is travel in the Express lane.
func quickTravel(steps ...saga.Step[journey]) saga.Saga[journey] {
	def := travel(steps...)
	def.Lane = holdfast.Express
	return def
}

// hasWorkflow reports whether Temporal knows a workflow of that ID.
func (s *site) hasWorkflow(id string) bool {
	s.t.Helper()
	_, err := s.temporal.DescribeWorkflow(s.ctx(), id, "")
	var none *serviceerror.NotFound
	if !errors.As(err, &none) {
		require.NoError(s.t, err)
	}
	return err == nil
}

// A saga that ends well at once has no workflow, and leaves nothing in the half queue.
func TestExpressSaga(t *testing.T) { inBothWays(t, testExpressSaga) }

func testExpressSaga(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"),
		saga.Choose("way", saga.Pick(func(journey) string { return "up" }),
			saga.Case("up", does("b", func(j *journey) error { j.Room = "12"; return nil })),
			saga.Otherwise(local("never"))),
		saga.Parallel("both", local("c"), seat()), local("d"))
	w := s.runWith(s.options(), func(w *worker.Worker) { w.AwaitSagas(); w.Saga(def) })
	s.participants(s.seats(nil))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	got, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, journey{ID: j.ID, Room: "12", Seat: "4a"}, got)
	require.False(t, s.hasWorkflow(h.ID()))
	require.Equal(t, []string{"do a", "do b", "do c", "do d"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
	w.stop()
	require.Zero(t, s.drained())
}

// Who did not start it finds it by its begin row: it gets its workflow then, and nothing
// is done again. It can be undone, as often as others.
func TestExpressSagaAfterItsEnd(t *testing.T) { inBothWays(t, testExpressSagaAfterItsEnd) }

func testExpressSagaAfterItsEnd(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), seat(), local("b"))
	w, other := s.agency(def), s.agency(def)
	s.participants(s.seats(nil))
	j, err := s.travels(w, def)
	require.NoError(t, err)
	h := worker.JoinSaga(other.Worker, def, j.ID)
	require.False(t, s.hasWorkflow(h.ID()))
	require.ErrorIs(t, h.Pause(s.ctx(), worker.By{Operator: "ann", Reason: "looks"}), holdfast.ErrInvalid, "it has ended")
	got, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, j, got)
	s.stands(w, def, j.ID, core.StateCompleted)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))

	require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "changed her mind"}))
	_, err = h.Wait(s.ctx())
	require.Contains(t, stood(t, err, holdfast.ErrSagaCompensated).Reason, "changed her mind")
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, j.ID))
	require.ErrorIs(t, wait(s, worker.JoinSaga(w.Worker, def, newID())), holdfast.ErrNotFound)
}

func wait(s *site, h *worker.SagaHandle[journey]) error {
	_, err := h.Wait(s.ctx())
	return err
}

// The same key joins, whoever starts it, also by a workflow; other content is refused.
func TestExpressSagaKeyUsedTwice(t *testing.T) { inBothWays(t, testExpressSagaKeyUsedTwice) }

func testExpressSagaKeyUsedTwice(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), local("b"))
	w, other := s.agency(def), s.sender()
	id := newID()
	const callers = 8
	ended := make(chan error, 2*callers)
	for range callers {
		for _, way := range []func() (*worker.SagaHandle[journey], error){
			func() (*worker.SagaHandle[journey], error) {
				return worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
			},
			func() (*worker.SagaHandle[journey], error) {
				return worker.StartSaga(s.ctx(), other.Worker, def, journey{ID: id})
			},
		} {
			go func() {
				h, err := way()
				if err == nil {
					_, err = h.Wait(s.ctx())
				}
				ended <- err
			}()
		}
	}
	for range 2 * callers {
		require.NoError(t, next(t, ended))
	}
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, id))

	for _, start := range []journey{{ID: id, Price: 7}, {ID: id, Price: 8}} {
		_, err := worker.StartSaga(s.ctx(), w.Worker, def, start)
		require.ErrorIs(t, err, holdfast.ErrDuplicate)
		require.NotContains(t, err.Error(), "parked")
	}
	_, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	w.stop()
	other.stop()
	require.LessOrEqual(t, s.drained(), 0, "refused starts are settled, too")
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, id))
}

// What does not end well at once goes on in a workflow, which knows what was done: steps
// that were not begun are neither undone nor guessed about.
func TestExpressSagaIsHandedOver(t *testing.T) { inBothWays(t, testExpressSagaIsHandedOver) }

func testExpressSagaIsHandedOver(t *testing.T, s *site, quickTravel quickly) {
	var tries atomic.Int32
	flaky := does("b", func(j *journey) error {
		if tries.Add(1) <= 2 { // together with step a, and by itself
			return errOops
		}
		return nil
	})
	refusing := does("b", func(j *journey) error { return saga.Refuse("no room") })
	for name, row := range map[string]struct {
		def   saga.Saga[journey]
		wants error
		log   []string
	}{
		"tried again": {quickTravel(local("a"), flaky, local("c")), nil, []string{"do a", "do b", "do c"}},
		"refused":     {quickTravel(local("a"), refusing, seat(), local("c")), holdfast.ErrSagaCompensated, []string{"do a", "undo a"}},
	} {
		w := s.agency(row.def)
		id := newID()
		h, err := worker.StartSaga(s.ctx(), w.Worker, row.def, journey{ID: id})
		require.NoError(t, err, name)
		err = wait(s, h)
		if row.wants == nil {
			require.NoError(t, err, name)
		} else {
			e := stood(t, err, row.wants)
			require.Equal(t, "b: no room", e.Step+": "+e.Reason)
		}
		require.Equal(t, row.log, s.logged(s.orders, id), name)
		status := s.sagaStatus(h.ID())
		require.Equal(t, "handed-over", status.Story[0].What)
		require.Contains(t, status.Story[0].Text, "step b")
		require.Nil(t, status.Core.Steps["seat"], "it was not begun")
		w.stop()
		require.Zero(t, s.drained(), "it was settled when it was handed over")
	}
}

// A wait is a workflow's: in the middle of a saga, and from the first.
func TestExpressSagaThatWaits(t *testing.T) { inBothWays(t, testExpressSagaThatWaits) }

func testExpressSagaThatWaits(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), saga.Wait("approve", time.Minute), local("b"))
	first := quickTravel(saga.Wait("approve", time.Minute), local("b"))
	first.Name = "waits"
	w := s.agency(def, first)
	for _, def := range []saga.Saga[journey]{def, first} {
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
		require.NoError(t, err)
		require.NoError(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
		require.NoError(t, wait(s, h))
		require.Empty(t, s.sagaStatus(h.ID()).Core.Steps["approve"].Error)
		require.Equal(t, 1, s.sagaStatus(h.ID()).Core.Steps["approve"].Tries, "that it was for a workflow is no try")
	}
}

// The reply that comes later than the process waits for is the call's: it counts, and
// nobody is asked twice where it comes before that.
func TestExpressSagaWhoseReplyIsLate(t *testing.T) { inBothWays(t, testExpressSagaWhoseReplyIsLate) }

func testExpressSagaWhoseReplyIsLate(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(local("a"), seat(), local("b"))
	w := s.agency(def)
	release := make(chan struct{})
	s.participants(s.seats(func(journey) error { <-release; return nil }))
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	until(t, "it goes on in a workflow", func() bool { return s.hasWorkflow(h.ID()) })
	close(release)
	require.NoError(t, wait(s, h))
	require.Zero(t, s.sagaStatus(h.ID()).Untrusted, "both calls have the same token")
}

// An operator takes it out of the process that runs it: what is under way ends, and
// nothing more begins there.
func TestExpressSagaIsSteered(t *testing.T) { inBothWays(t, testExpressSagaIsSteered) }

func testExpressSagaIsSteered(t *testing.T, s *site, quickTravel quickly) {
	began, release := make(chan struct{}), make(chan struct{})
	def := quickTravel(local("a"), does("b", func(*journey) error {
		began <- struct{}{}
		<-release
		return nil
	}), local("c"))
	def.OneByOne = true
	w := s.agency(def)
	until(t, "it is paused before step b has ended", func() bool {
		id := newID()
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
		require.NoError(t, err)
		<-began
		stands, err := h.State(s.ctx())
		require.NoError(t, err)
		require.Equal(t, core.StateRunning+" b", stands.State+" "+stands.Step)
		ctx, cancel := context.WithCancel(s.ctx())
		cancel()
		_, err = h.Wait(ctx)
		require.Equal(t, "b", stood(t, err, holdfast.ErrSagaPending).Step)
		require.False(t, s.hasWorkflow(h.ID()), "looking at it changes nothing")

		pausing := make(chan error, 1)
		go func() { pausing <- h.Pause(s.ctx(), worker.By{Operator: "ann", Reason: "wait a moment"}) }()
		time.Sleep(50 * time.Millisecond) // so that it comes before the step's end, mostly
		release <- struct{}{}
		if err := next(t, pausing); err != nil {
			require.ErrorIs(t, err, holdfast.ErrInvalid, "it has completed before")
			return false
		}
		until(t, "it is paused", func() bool { return s.sagaStatus(h.ID()).State == core.StatePaused })
		require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, id))
		require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
		stood(t, wait(s, h), holdfast.ErrSagaCompensated)
		require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, id))
		return true
	})
}

// One that is slower than the Keeper waits is handed over as soon as the step that is under
// way has ended: each step is done once.
func TestSlowExpressSaga(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	release := make(chan struct{})
	def := quickTravel(local("a"), does("b", func(*journey) error { <-release; return nil }), local("c"))
	def.OneByOne = true
	o := hurried(s.options())
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	time.Sleep(2 * o.CheckAfter) // so that the Keeper comes before the step's end, mostly
	require.False(t, s.hasWorkflow(h.ID()))
	close(release)
	require.NoError(t, wait(s, h))
	require.NoError(t, wait(s, worker.JoinSaga(w.Worker, def, id)))
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, id))
}

// Without Temporal sagas go on; what does not end well at once waits for it.
func TestExpressSagaWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	link := newRelay(t, s.at.Temporal)
	link.refuse(true)
	o := hurried(s.options())
	o.Lane = holdfast.Express
	o.Temporal = dialTemporal(t, link.address(), s.at.Namespace, nil)
	def := quickTravel(local("a"), does("b", func(j *journey) error {
		if j.By == "nobody" {
			return saga.Refuse("no guide")
		}
		return nil
	}), local("c"))
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))

	id := newID()
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: id, By: "nobody"})
	require.NoError(t, err)
	until(t, "its first step is done", func() bool { return len(s.logged(s.orders, id)) > 0 })
	ctx, cancel := context.WithTimeout(s.ctx(), 2*time.Second)
	defer cancel()
	_, err = h.Wait(ctx)
	stood(t, err, holdfast.ErrSagaPending)
	require.Equal(t, []string{"do a"}, s.logged(s.orders, id))
	link.refuse(false)
	e := stood(t, wait(s, h), holdfast.ErrSagaCompensated)
	require.Equal(t, "b: no guide", e.Step+": "+e.Reason)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, id))
}

// While processes of the version before may keep the half queue, sagas are Traced.
func TestExpressSagaInARollingUpgrade(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	o := s.options()
	o.RollingUpgrade, o.Lanes = true, map[string]holdfast.Lane{"saga/travel": holdfast.Express}
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	j, err := s.travels(w, def)
	require.NoError(t, err)
	h := worker.JoinSaga(w.Worker, def, j.ID)
	require.True(t, s.hasWorkflow(h.ID()))
	w.stop()

	o.RollingUpgrade = false
	w = s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	j, err = s.travels(w, def)
	require.NoError(t, err)
	require.False(t, s.hasWorkflow(worker.JoinSaga(w.Worker, def, j.ID).ID()), "as Options.Lanes says")
}

// The Keeper starts a saga that has a half record and nothing else.
func TestKeeperStartsASaga(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := quickTravel(local("a"))
	w := s.runWith(hurried(s.options()), func(w *worker.Worker) { w.Saga(def) })
	b, id := s.broker(), newID()
	require.NoError(t, b.PublishHalf(s.ctx(), holdfast.Half{TxID: newID(), Group: group, At: time.Now(), Lane: holdfast.Express,
		Saga: &holdfast.SagaStart{Name: "travel", Version: 1, Key: id, State: []byte(`{"id":"` + id + `"}`), Tokens: true}}))
	h := worker.JoinSaga(w.Worker, def, id)
	until(t, "the Keeper starts it", func() bool { return s.hasWorkflow(h.ID()) })
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a"}, s.logged(s.orders, id))
}

// A key that was used for something else is refused before a participant is asked, and
// whose half message that is.
func TestExpressSagaOfCallsWithAUsedKey(t *testing.T) {
	inBothWays(t, testExpressSagaOfCallsWithAUsedKey)
}

func testExpressSagaOfCallsWithAUsedKey(t *testing.T, s *site, quickTravel quickly) {
	def := quickTravel(seat())
	w := s.agency(def)
	s.participants(s.seats(nil))
	j, err := s.travels(w, def)
	require.NoError(t, err)
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: j.ID, Price: 7})
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.False(t, s.hasWorkflow(worker.JoinSaga(w.Worker, def, j.ID).ID()))
	got, err := worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, j, got)
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
}

// What the Keeper can never hand over becomes a dead letter: another saga has the key.
func TestHalfOfASagaWhoseKeyIsUsed(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	w := s.runWith(hurried(s.options()), func(w *worker.Worker) { w.Saga(def) })
	j, err := s.travels(w, def)
	require.NoError(t, err)
	tx := newID()
	require.NoError(t, s.broker().PublishHalf(s.ctx(), holdfast.Half{TxID: tx, Group: group, At: time.Now(), Lane: holdfast.Express,
		Saga: &holdfast.SagaStart{Name: "travel", Version: 1, Key: j.ID, State: []byte(`{"id":"` + j.ID + `","price":7}`)}}))
	until(t, "it is a dead letter", func() bool {
		return slices.ContainsFunc(s.letters(), func(id string) bool {
			return strings.Contains(s.letterOf(id).Failure.Reason, "with other content")
		})
	})
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))
}

// Who may publish half records, such as a producer in another language, may not start
// sagas.
func TestForgedHalfOfASaga(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	w := s.runWith(hurried(s.options()), func(w *worker.Worker) { w.Saga(def) })
	id, tx := newID(), newID()
	body := []byte(`{"v":2,"tx":"` + tx + `","group":"` + group + `","at":"2026-01-01T00:00:00Z","saga":{"name":"travel",` +
		`"version":1,"key":"` + id + `","state":{"id":"` + id + `"}}}`)
	b := s.broker()
	ways := []string{"", s.at.Prefix + ".half"}
	s.channel(func(ch *amqp.Channel) {
		for _, exchange := range ways {
			require.NoError(t, ch.PublishWithContext(t.Context(), exchange, b.HalfQueue(group), true, false, amqp.Publishing{
				MessageId: tx, Body: body, DeliveryMode: amqp.Persistent, Headers: amqp.Table{"holdfast-kind": "half",
					"holdfast-version": "2", "holdfast-tx": tx, "holdfast-group": group, "holdfast-lane": "express"}}))
		}
	})
	until(t, "all of them are dead letters", func() bool {
		copies := 0
		for _, id := range s.letters() {
			status := s.letterOf(id)
			require.Contains(t, status.Failure.Reason, "may not start sagas")
			copies += 1 + status.Duplicates
		}
		return copies == len(ways)
	})
	require.ErrorIs(t, wait(s, worker.JoinSaga(w.Worker, def, id)), holdfast.ErrNotFound)
	require.Empty(t, s.logged(s.orders, id))
}
