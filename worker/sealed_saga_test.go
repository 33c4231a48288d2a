package worker_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// sealedAgency is an agency whose workers, and those of its participants, have k.
func (s *site) sealedAgency(k holdfast.Keyring, ps []worker.Participant, activities map[string]any,
	defs ...saga.Definition) *running {
	s.t.Helper()
	return s.keyedAgency(with(k), k, ps, activities, defs...)
}

// secretSeats takes part with a seat that has the mark in it, and sees what it is given.
func (s *site) secretSeats(mark string, given func(op string, j journey)) worker.Participant {
	p := s.seats(nil)
	do := func(op string) worker.Participation {
		return worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (string, error) {
			given(op, j)
			return mark + " seat", write(tx, j.ID, "%s seat", op)
		})
	}
	p.Do, p.Undo = do("do"), do("undo")
	return p
}

// The states of sagas, what their steps send and what is answered is nowhere in clear, for
// each kind of step, forwards and back, in both lanes.
func TestSealedSagas(t *testing.T) {
	s := sagaSite(t)
	k, _ := aKeyring(t)
	mark := "mark-" + newID()
	const price = 770017700177 // long, so that no identity or time has it by chance
	x := s.watch(mark, strconv.Itoa(price))
	sees := func(op string, j journey) {
		if j.By != mark+" by" || j.Price != price {
			t.Errorf("%s: the participant was given %+v", op, j)
		}
	}
	sub := saga.Saga[journey]{Name: "walk", Steps: []saga.Step[journey]{
		does("shoes", func(j *journey) error { j.Seat = mark + " shoes"; return nil }), seat()}}
	steps := []saga.StepDef{
		does("room", func(j *journey) error { j.Room = mark + " room"; return nil }),
		saga.Choose("how", saga.Pick(func(j journey) string { return strings.TrimPrefix(j.By, mark+" ") }),
			saga.Case("by", local("rightly")), saga.Otherwise(local("wrongly"))),
		saga.Parallel("both", seat(), local("paid").When(saga.If(func(j journey) bool { return j.Price == price }))),
	}
	slow := append(steps[:len(steps):len(steps)],
		saga.Activity("book", "BookCar", "LeaveCar").Receive(saga.Into(func(j *journey, car string) error {
			j.Room += ", " + car
			return nil
		})),
		saga.Sub("onfoot", sub).Receive(saga.Into(func(j *journey, of journey) error { j.Seat += ", " + of.Seat; return nil })),
		saga.Wait("approve", 0).Receive(saga.Into(func(j *journey, by string) error { j.Room += ", " + by; return nil })),
	)
	fails := does("fails", func(j *journey) error {
		if !j.Paid {
			return nil
		}
		return saga.Refuse("no money")
	})
	all := func(steps []saga.StepDef) (out []saga.Step[journey]) {
		for _, d := range append(steps[:len(steps):len(steps)], fails) {
			out = append(out, d)
		}
		return out
	}
	traced, express := travel(all(slow)...), quickTravel(all(steps)...)
	express.Name = "quick"
	var cars []string
	car := func(_ context.Context, in saga.ActivityInput) (string, error) {
		cars = append(cars, string(in.Data))
		return mark + " car", nil
	}
	w := s.sealedAgency(k, []worker.Participant{s.secretSeats(mark, sees)}, map[string]any{"BookCar": car, "LeaveCar": car},
		traced, express)

	run := func(t *testing.T, def saga.Saga[journey], broke bool) (journey, error) {
		t.Helper()
		first := journey{ID: newID(), By: mark + " by", Price: price, Paid: broke}
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, first)
		require.NoError(t, err)
		again, err := worker.StartSaga(s.ctx(), w.Worker, def, first)
		require.NoError(t, err, "the same is joined, though it is encrypted anew")
		other := first
		other.Price++
		_, err = worker.StartSaga(s.ctx(), w.Worker, def, other)
		require.ErrorIs(t, err, holdfast.ErrDuplicate)
		if def.Name == traced.Name {
			require.NoError(t, h.Approve(s.ctx(), "approve", mark+" ann", worker.By{Operator: "ann", Reason: "fair"}))
		}
		j, err := again.Wait(s.ctx())
		require.Equal(t, first.ID, j.ID)
		require.Equal(t, first.By, j.By)
		return j, err
	}
	t.Run("traced", func(t *testing.T) {
		j, err := run(t, traced, false)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll("M room, M car, M ann", "M", mark), j.Room)
		require.Equal(t, strings.ReplaceAll("M seat, M seat", "M", mark), j.Seat)
		require.Equal(t, []string{"do room", "do rightly", "do paid"}, s.logged(s.orders, j.ID)[:3])
		require.NotEmpty(t, cars)
		require.Contains(t, cars[0], mark)
	})
	t.Run("traced, compensated", func(t *testing.T) {
		j, err := run(t, traced, true)
		require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
		require.Contains(t, s.logged(s.orders, j.ID), "undo room")
		require.Contains(t, s.logged(s.orders, j.ID), "undo shoes")
		require.Equal(t, []string{"do seat", "do seat", "undo seat", "undo seat"}, s.logged(s.effects, j.ID))
	})
	t.Run("express", func(t *testing.T) {
		j, err := run(t, express, false)
		require.NoError(t, err)
		require.Equal(t, mark+" room "+mark+" seat", j.Room+" "+j.Seat)
		require.Equal(t, []string{"do room", "do rightly", "do paid", "do fails"}, s.logged(s.orders, j.ID))
	})
	t.Run("express, compensated", func(t *testing.T) {
		j, err := run(t, express, true)
		require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
		require.Equal(t, []string{"undo paid", "undo rightly", "undo room"}, s.logged(s.orders, j.ID)[3:])
	})
	w.stop()
	require.Empty(t, x.finds())
}

// A saga that was begun in clear goes on where its processes encrypt, forwards and back; one
// that refuses what is in clear leaves it to others.
func TestSagaIsEncryptedFromItsMiddleOn(t *testing.T) {
	s := sagaSite(t)
	k, _ := aKeyring(t)
	sub := saga.Saga[journey]{Name: "walk", Steps: []saga.Step[journey]{
		does("shoes", func(j *journey) error { j.Seat = "shoes"; return nil }), seat()}}
	sees := func(op string, j journey) {
		if j.By != "train" || j.Room != "12" {
			t.Errorf("%s: the participant was given %+v", op, j)
		}
	}
	def := travel(does("room", func(j *journey) error { j.Room = "12"; return nil }), saga.Wait("go", 0), seat(),
		saga.Sub("onfoot", sub).Receive(saga.Into(func(j *journey, of journey) error { j.Seat += " " + of.Seat; return nil })),
		does("end", func(j *journey) error {
			if j.Paid {
				return saga.Refuse("no money")
			}
			return nil
		}))
	clear := s.agency(def)
	start := func(broke bool) journey {
		j := journey{ID: newID(), By: "train", Paid: broke}
		h, err := worker.StartSaga(s.ctx(), clear.Worker, def, j)
		require.NoError(t, err)
		until(t, "it waits", func() bool { st, err := h.State(s.ctx()); return err == nil && st.State == holdfast.SagaWaiting })
		return j
	}
	good, bad := start(false), start(true)
	clear.stop()

	o := s.options()
	o.Keyring, o.Encryption = k, holdfast.EncryptionRequired
	strict := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	h := worker.JoinSaga(strict.Worker, def, good.ID)
	require.NoError(t, h.Approve(s.ctx(), "go", nil, worker.By{Operator: "ann", Reason: "go"}))
	until(t, "it refuses the state", func() bool {
		st, err := h.State(s.ctx())
		return err == nil && st.State == holdfast.SagaNoWorker && strings.Contains(st.WaitsFor+st.Reason, "HOLDFAST_ENCRYPTION")
	})
	strict.stop()

	w := s.sealedAgency(k, []worker.Participant{s.secretSeats("4a", sees)}, nil, def)
	got, err := worker.JoinSaga(w.Worker, def, good.ID).Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, journey{ID: good.ID, By: "train", Room: "12", Seat: "4a seat 4a seat"}, got)
	h = worker.JoinSaga(w.Worker, def, bad.ID)
	require.NoError(t, h.Approve(s.ctx(), "go", nil, worker.By{Operator: "ann", Reason: "go"}))
	_, err = h.Wait(s.ctx())
	require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do room", "do shoes", "undo shoes", "undo room"}, s.logged(s.orders, bad.ID))
	require.Equal(t, []string{"do seat", "do seat", "undo seat", "undo seat"}, s.logged(s.effects, bad.ID))
}

// With a keyring, what could not be encrypted is refused when the process starts.
func TestSagasThatCannotBeSealed(t *testing.T) {
	s := sagaSite(t)
	k, _ := aKeyring(t)
	for want, register := range map[string]func(w *worker.Worker){
		"task queue (elsewhere)": func(w *worker.Worker) { w.Saga(travel(saga.Activity("a", "A", "").NoUndo().On("elsewhere"))) },
		`activity "A"`: func(w *worker.Worker) {
			w.Saga(travel(saga.Activity("a", "A", "").NoUndo()))
			w.Activity("A", func(context.Context, map[string]any) error { return nil })
		},
	} {
		o := s.options()
		o.Keyring = k
		w, err := worker.New(o)
		require.NoError(t, err)
		register(w)
		require.ErrorContains(t, w.Run(s.ctx()), want)
	}
	o := s.options()
	o.Keyring, o.Encryption = k, holdfast.EncryptionReadOnly
	reading, err := worker.New(o)
	require.NoError(t, err)
	reading.Activity("A", func(context.Context, map[string]any) error { return nil })
	require.ErrorContains(t, reading.Run(s.ctx()), `activity "A"`, "others may encrypt its input")
	def := saga.Saga[[]string]{Name: "list", Steps: []saga.Step[[]string]{saga.Wait("go", 0)}}
	w := s.sealedAgency(k, nil, nil, def)
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, []string{"a"})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "use a struct")
}
