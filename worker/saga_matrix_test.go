package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// trek is the saga of the failure matrix: two local steps around one of a
// participant, and a last one that refuses whom nobody guides.
var trek = saga.Saga[journey]{Name: "trek", Key: journeyID, Steps: []saga.Step[journey]{
	deadly("a", nil), seat(), deadly("b", nil),
	deadly("end", func(j *journey) error {
		if j.By == "nobody" {
			return saga.Refuse("no guide")
		}
		return nil
	}),
}}

// trekIn is trek in a lane.
func trekIn(lane holdfast.Lane) saga.Saga[journey] {
	def := trek
	def.Lane = lane
	return def
}

// deadly is a local step with places to die in. It halves the price, and its Undo
// books what it is given.
func deadly(name string, do func(*journey) error) saga.StepDef {
	return saga.Local(name,
		func(_ context.Context, tx *gorm.DB, j *journey) error {
			j.Price /= 2
			err := write(tx, j.ID, "do %s %d", name, j.Price)
			fault.Point(insideStep)
			if err == nil && do != nil {
				err = do(j)
			}
			return err
		},
		func(_ context.Context, tx *gorm.DB, j *journey) error {
			err := write(tx, j.ID, "undo %s %d", name, j.Price)
			fault.Point(insideStepUndo)
			return err
		})
}

// deadlySeats is the participant of trek.
func deadlySeats(db *gorm.DB) worker.Participant {
	return worker.Participant{Topic: "seat.take", UndoTopic: "seat.leave", DB: db,
		Do: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (string, error) {
			err := write(tx, j.ID, "do seat %d", j.Price)
			fault.Point(insideStep)
			return "4a", err
		}),
		Undo: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (any, error) {
			err := write(tx, j.ID, "undo seat %d", j.Price)
			fault.Point(insideStepUndo)
			return nil, err
		})}
}

// trekker is the first state of a trek: one that succeeds, or one that goes back.
func trekker(id string, back bool) journey {
	j := journey{ID: id, By: "ann", Price: 160}
	if back {
		j.By = "nobody"
	}
	return j
}

// takeSeats is what a child does that takes part.
func (c childConfig) takeSeats(ctx context.Context, log *slog.Logger) error {
	db, err := dialDB(c.Place.EffectsURL)
	if err != nil {
		return err
	}
	w, err := worker.New(worker.Options{AMQPURL: c.Place.AMQPURL, Prefix: c.Place.Prefix, Logger: log})
	if err != nil {
		return err
	}
	w.Participate(deadlySeats(db))
	return c.serve(ctx, w, nil)
}

// death is a row of the matrix: who dies, at which arrival at which point, and
// whether the saga is one that goes back.
type death struct {
	name string
	who  string
	at   string
	nth  int
	back bool
	lane holdfast.Lane
}

const (
	on   = false // the saga succeeds
	back = true  // its last step refuses, and everything is undone
)

// deaths are the rows. Those of a process in an Undo take long.
var deaths = []death{
	{"before the Undo of b", roleTreks, fault.SagaUndoBefore, 1, back, ""},
	{"inside the Undo of b", roleTreks, insideStepUndo, 1, back, ""},
	{"after the Undo of b", roleTreks, fault.SagaUndoAfterCommit, 1, back, ""},
	{"before the Undo of seat", roleTreks, fault.SagaUndoBefore, 2, back, ""},
	{"call to undo seat, before its confirm", roleTreks, fault.SagaCallBeforeConfirm, 2, back, ""},
	{"call to undo seat, after its confirm", roleTreks, fault.SagaCallAfterConfirm, 2, back, ""},
	{"reply to undo seat, taken", roleTreks, fault.SagaReplyTaken, 2, back, ""},
	{"before the Undo of a", roleTreks, fault.SagaUndoBefore, 3, back, ""},
	{"inside the Undo of a", roleTreks, insideStepUndo, 2, back, ""},
	{"after the Undo of a", roleTreks, fault.SagaUndoAfterCommit, 2, back, ""},
	{"before the Do of a", roleTreks, fault.SagaDoBefore, 1, on, ""},
	{"inside the Do of a", roleTreks, insideStep, 1, on, ""},
	{"after the Do of a", roleTreks, fault.SagaDoAfterCommit, 1, on, ""},
	{"before the Do of seat", roleTreks, fault.SagaDoBefore, 2, on, ""},
	{"call to do seat, before its confirm", roleTreks, fault.SagaCallBeforeConfirm, 1, on, ""},
	{"call to do seat, after its confirm", roleTreks, fault.SagaCallAfterConfirm, 1, on, ""},
	{"reply to do seat, taken", roleTreks, fault.SagaReplyTaken, 1, on, ""},
	{"before the Do of b", roleTreks, fault.SagaDoBefore, 3, on, ""},
	{"inside the Do of b", roleTreks, insideStep, 2, on, ""},
	{"after the Do of b", roleTreks, fault.SagaDoAfterCommit, 2, on, ""},
	{"before the Do of end", roleTreks, fault.SagaDoBefore, 4, on, ""},
	{"inside the Do of end", roleTreks, insideStep, 3, on, ""},
	{"after the Do of end", roleTreks, fault.SagaDoAfterCommit, 3, on, ""},
	{"after the Do of a, which is undone", roleTreks, fault.SagaDoAfterCommit, 1, back, ""},
	{"after the Do of b, which is undone", roleTreks, fault.SagaDoAfterCommit, 2, back, ""},
	{"before the refusal", roleTreks, insideStep, 3, back, ""},
	{"after the refusal", roleTreks, fault.SagaDoAfterCommit, 3, back, ""},

	{"participant: before the Do", roleSeats, fault.ConsumeBefore, 1, on, ""},
	{"participant: inside the Do", roleSeats, insideStep, 1, on, ""},
	{"participant: after the Do", roleSeats, fault.SagaDoAfterCommit, 1, on, ""},
	{"participant: reply to the Do, before its confirm", roleSeats, fault.SagaReplyBeforeConfirm, 1, on, ""},
	{"participant: reply to the Do, before the ack", roleSeats, fault.SagaReplyBeforeAck, 1, on, ""},
	{"participant: inside the Do, which is undone", roleSeats, insideStep, 1, back, ""},
	{"participant: after the Do, which is undone", roleSeats, fault.SagaDoAfterCommit, 1, back, ""},
	{"participant: before the Undo", roleSeats, fault.ConsumeBefore, 2, back, ""},
	{"participant: inside the Undo", roleSeats, insideStepUndo, 1, back, ""},
	{"participant: after the Undo", roleSeats, fault.SagaUndoAfterCommit, 1, back, ""},
	{"participant: reply to the Undo, before its confirm", roleSeats, fault.SagaReplyBeforeConfirm, 2, back, ""},
	{"participant: reply to the Undo, before the ack", roleSeats, fault.SagaReplyBeforeAck, 2, back, ""},
}

// trekDone is what a trek that is completed has done, and at which prices.
var trekDone = []string{"do a 80", "do seat 80", "do b 40", "do end 20"}

// TestSagaMatrix kills a real process at each instant of a saga, and looks at what
// is in both databases once another one has taken over: all is done, or all is
// undone, each once and in order. That Temporal notices a lost Undo takes half a
// minute: so all die before the first is looked at, those that take long first.
func TestSagaMatrix(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	const atOnce = 13
	rows := slices.Clone(deaths)
	for _, row := range deaths { // an Undo is the workflow's in either lane
		if row.who == roleTreks && !strings.Contains(row.name, "undo ") && !strings.Contains(row.name, "Undo") {
			row.name, row.lane = "express: "+row.name, holdfast.Express
			rows = append(rows, row)
		}
	}
	for _, point := range []string{fault.HalfAfterConfirm, fault.CommitAfterConfirm} {
		rows = append(rows, death{"express: " + point, roleTreks, point, 1, on, holdfast.Express})
	}
	var all []*doomed
	for some := range slices.Chunk(rows, atOnce) {
		begun := len(all)
		for _, row := range some {
			all = append(all, s.doom(row))
		}
		for _, d := range all[begun:] {
			d.succeed()
		}
	}
	for _, d := range all {
		t.Run(d.name, d.verify)
		d.agency.stop()
		d.seats.stop()
	}
}

// doomed is a saga one of whose processes dies.
type doomed struct {
	death
	s             *site
	id            string
	child         *child
	agency, seats *running
}

// doom begins a saga with a process that is going to die, in a corner of RabbitMQ
// and Temporal of its own.
func (s *site) doom(row death) *doomed {
	s.t.Helper()
	own := *s
	own.at.Prefix, own.consumers = stacktest.Prefix(s.t), map[string]bool{"seat.take": true}
	s.t.Cleanup(own.deleteQueues)
	s.t.Cleanup(own.deleteSagaQueues)
	d := &doomed{death: row, s: &own, id: newID()}
	c := childConfig{Role: d.who, Fault: d.at, Nth: d.nth, Tx: d.id, Back: d.back, Lane: lanes[0].name, SagaLane: d.lane}
	if d.who == roleTreks {
		d.seats = own.participants(deadlySeats(own.effects))
		d.child = own.child(c)
		return d
	}
	d.child = own.child(c)
	d.agency = own.treks(d.lane)
	d.child.awaitReady()
	_, err := worker.StartSaga(own.ctx(), d.agency.Worker, trekIn(d.lane), trekker(d.id, d.back))
	require.NoError(s.t, err)
	return d
}

// treks runs a worker with the saga.
func (s *site) treks(lane holdfast.Lane) *running {
	s.t.Helper()
	return s.runWith(hurried(s.options()), func(w *worker.Worker) { w.Saga(trekIn(lane)) })
}

// succeed has another process take over from the one that has died.
func (d *doomed) succeed() {
	d.s.t.Helper()
	d.child.killed()
	if d.who == roleTreks {
		d.agency = d.s.treks(d.lane)
		return
	}
	d.seats = d.s.participants(deadlySeats(d.s.effects))
}

// verify waits for the saga's end, and requires that it is the right one
// everywhere, and stays so.
func (d *doomed) verify(t *testing.T) {
	s := *d.s
	s.t = t
	var j journey
	var err error
	until(t, "it is found, by its begin row, its half message's hand-over, or its workflow", func() bool {
		j, err = worker.JoinSaga(d.agency.Worker, trek, d.id).Wait(s.ctx())
		return d.lane != holdfast.Express || !errors.Is(err, holdfast.ErrNotFound)
	})
	want, steps, price := trekDone, core.Done, 20
	if d.back {
		e := stood(t, err, holdfast.ErrSagaCompensated)
		require.True(t, e.Refused)
		require.Equal(t, "end: no guide", e.Step+": "+e.Reason)
		want, steps, price = []string{"do a 80", "do seat 80", "do b 40", "undo b 40", "undo seat 80", "undo a 80"}, core.Undone, 40
	} else {
		require.NoError(t, err)
	}
	require.Equal(t, journey{ID: d.id, By: j.By, Seat: "4a", Price: price}, j)
	require.Equal(t, want, s.chronicle(d.id))
	var status sagas.Status
	require.NoError(t, s.temporal.GetWorkflow(s.ctx(), workflows.SagaID(s.at.Prefix, group, trek.Name, d.id), "").Get(s.ctx(), &status))
	for _, step := range []string{"a", "seat", "b"} {
		require.Equal(t, steps, status.Core.Steps[step].Status, step)
	}

	// What comes later comes behind: a second effect would be there then.
	later := newID()
	h, err := worker.StartSaga(s.ctx(), d.agency.Worker, trekIn(d.lane), trekker(later, d.back))
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.Equal(t, d.back, err != nil, "%v", err)
	require.Equal(t, want, s.chronicle(later))
	require.Equal(t, want, s.chronicle(d.id))
	b := s.broker()
	until(t, "all queues are empty", func() bool {
		messages, _ := s.waiting(b, b.ConsumerQueue("seat.take"), b.ReplyQueue(group), b.DeadQueue())
		return messages == 0
	})
}
