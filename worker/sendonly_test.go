package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

func sendOnly(o *worker.Options) { o.SendOnly = true }

// TestSendOnly: a process that only sends needs another one of its group for everything
// but its local transactions.
func TestSendOnly(t *testing.T) { inLanes(t, testSendOnly) }

func testSendOnly(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := s.options()
	l.set(&o)
	o.Instance = "keeper"
	s.runWith(o, func(w *worker.Worker) {
		w.Local("place", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error { return insert(ctx, tx, m) })
	})
	w := s.producer(l.set, sendOnly, func(o *worker.Options) { o.Instance = "sender" })

	id := newID()
	receipt, err := w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	require.Equal(t, holdfast.Commit, receipt.Resolution)
	s.oneEffect(id)
	require.Equal(t, 1, s.ordered(id))

	id = newID()
	_, err = w.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		require.NoError(t, insert(ctx, tx, m))
		return errOops
	})
	require.ErrorIs(t, err, errOops)
	require.ErrorIs(t, err, holdfast.ErrRolledBack)
	require.Zero(t, s.ordered(id))

	id = newID()
	receipt, err = w.Start(t.Context(), "place", order(id)) // a handler of the other process
	require.NoError(t, err)
	require.Equal(t, holdfast.Commit, receipt.Resolution)
	s.oneEffect(id)

	split, err := w.Begin(t.Context(), 0, order(newID()))
	require.NoError(t, err)
	require.NoError(t, s.commitOrder(split))
	_, err = split.Commit(t.Context())
	require.NoError(t, err)
	s.oneEffect(split.ID())

	answers := s.asked(s.broker(), "both answer", func(all []broker.ProcessStatus) bool {
		there := map[string]bool{}
		for _, p := range all {
			there[p.Instance] = true
		}
		return there["sender"] && there["keeper"]
	})
	kept := map[string]int{}
	for _, p := range answers {
		kept[p.Instance] = len(p.Keepers)
		require.Equal(t, p.Instance == "sender", p.SendsFor == group, p.Instance)
	}
	require.Equal(t, 0, kept["sender"], "%+v", answers)
	require.Equal(t, 1, kept["keeper"], "%+v", answers)
}

// TestSendOnlyDies: what a process that only sends leaves undecided is checked back by
// another one, also if that begins later.
func TestSendOnlyDies(t *testing.T) { inLanes(t, testSendOnlyDies) }

func testSendOnlyDies(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	keeps := func() *running { return s.run(l.options(s.options())) }
	first := keeps() // the Traced lane needs one to begin with
	o := l.options(s.options())
	sendOnly(&o)
	w := s.run(o)
	committed := s.committedSplit(w, 0)
	open, err := w.Begin(t.Context(), 0, order(newID()))
	require.NoError(t, err)
	w.stop()
	first.stop()

	keeps()
	s.oneEffect(committed.ID())
	until(t, "the open one is rolled back", func() bool {
		return s.count(s.orders, "SELECT count(*) FROM holdfast_outcomes WHERE tx_id = ? AND resolution = 'rollback'", open.ID()) == 1
	})
	require.ErrorIs(t, s.commitOrder(open), holdfast.ErrAlreadyResolved)
}

// TestSendOnlyIsAlone: that nobody keeps its half queue is seen, and told, until somebody does.
func TestSendOnlyIsAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options()
	sendOnly(&o)
	told := &alarms{}
	o.Instance, o.Lane, o.OnAlert = "alone", holdfast.Express, told.take
	w, err := worker.New(o)
	require.NoError(t, err)
	w.WatchKeepersEvery(50 * time.Millisecond)
	runWorker(t, w)
	b := s.broker()
	troubled := func() bool {
		answers, err := b.Ask(s.ctx(), 0)
		require.NoError(t, err)
		for _, p := range answers {
			for _, trouble := range p.Troubles {
				if p.Instance == "alone" && strings.Contains(trouble.What, "no process keeps "+b.HalfQueue(group)) {
					require.Contains(t, trouble.Remedy, "start a process of group "+group)
					return true
				}
			}
		}
		return false
	}
	until(t, "it says that nobody keeps its half queue", troubled)
	until(t, "an alert", func() bool { return told.says(holdfast.AlertUndecidedWaits, "this one only sends") })

	s.producer(func(o *worker.Options) { o.Lane = holdfast.Express })
	until(t, "somebody keeps it", func() bool { return !troubled() })
}

// TestSendOnlyChecker: it knows which topics need no outcome row; another process answers.
func TestSendOnlyChecker(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	committed := func(w *worker.Worker) {
		w.Check("order.file", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
			return holdfast.Commit, nil
		}))
	}
	o := s.options()
	o.DB = nil
	s.runWith(o, committed)
	sendOnly(&o)
	w := s.runWith(o, committed)
	split, err := w.Begin(t.Context(), time.Hour, holdfast.Message{Topic: "order.file", Body: []byte("x")})
	require.NoError(t, err)
	_, err = split.Commit(t.Context())
	require.NoError(t, err)
	s.oneEffect(split.ID())
}

// TestSendOnlySaga: it starts and steers sagas whose definition it does not have.
func TestSendOnlySaga(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := saga.Saga[journey]{Name: "journey", Key: journeyID, Steps: []saga.Step[journey]{
		saga.Local("book", func(_ context.Context, tx *gorm.DB, j *journey) error {
			j.Room = "12"
			return write(tx, j.ID, "book")
		}, func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "unbook") }),
	}}
	w := s.producer(sendOnly)
	s.runWith(s.options(), func(w *worker.Worker) { w.Saga(def) })

	id := newID()
	h, err := worker.StartSaga(t.Context(), w.Worker, def, journey{ID: id})
	require.NoError(t, err)
	j, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, "12", j.Room)
	_, err = worker.StartSaga(t.Context(), w.Worker, def, journey{ID: id, Price: 3})
	require.ErrorIs(t, err, holdfast.ErrDuplicate)

	require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "the guest called"}))
	_, err = h.Wait(s.ctx())
	var ended *holdfast.SagaError
	require.ErrorAs(t, err, &ended)
	require.Equal(t, []string{"book", "unbook"}, s.logged(s.orders, id))
}

// TestSendOnlyRegistersNothing: what is registered would never run.
func TestSendOnlyRegistersNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options()
	sendOnly(&o)
	w, err := worker.New(o)
	require.NoError(t, err)
	w.Consume(payments(s.effects))
	w.Activity("charge", func(context.Context) error { return nil })
	w.Check("order.placed", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
		return holdfast.Commit, nil
	}))
	err = w.Run(t.Context())
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "SendOnly excludes Consume, Activity: register that")

	for name, change := range map[string]func(*worker.Options){
		"no lane":      func(o *worker.Options) { o.Temporal, o.Lane = nil, holdfast.Traced },
		"a keeper":     func(o *worker.Options) { o.RemoteCheck, o.DB = true, nil },
		"no group":     func(o *worker.Options) { o.Temporal, o.Group, o.Lane = nil, "", holdfast.Express },
		"no lane, url": func(o *worker.Options) { o.Temporal = nil },
	} {
		o := s.options()
		sendOnly(&o)
		change(&o)
		_, err := worker.New(o)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, "SendOnly", name)
	}
}
