package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

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

// treksWith are the treks that share a workflow with one that has this ID: it, and two more.
func treksWith(id string) []string { return []string{id, id + "-2", id + "-3"} }

// trek starts a trek, or as many as share a workflow.
func (c childConfig) trek(ctx context.Context, w *worker.Worker) error {
	if !c.Cohorts {
		_, err := worker.StartSaga(ctx, w, trekIn(c.SagaLane), trekker(c.Tx, c.Back))
		return err
	}
	release, ids := w.HoldSagas(), treksWith(c.Tx)
	ended := make(chan error, len(ids))
	for _, id := range ids {
		go func() {
			_, err := worker.StartSaga(ctx, w, trekIn(c.SagaLane), trekker(id, c.Back))
			ended <- err
		}()
	}
	for w.GatheredSagas() < len(ids) {
		time.Sleep(time.Millisecond)
	}
	release()
	var err error
	for range ids {
		err = errors.Join(err, <-ended)
	}
	return err
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
	name   string
	who    string
	at     string
	nth    int
	back   bool
	lane   holdfast.Lane
	cohort bool // it shares a workflow with others, who die with it
}

const (
	on   = false // the saga succeeds
	back = true  // its last step refuses, and everything is undone
)

// deaths are the rows. Those of a process in an Undo take long.
var deaths = []death{
	{"before the Undo of b", roleTreks, fault.SagaUndoBefore, 1, back, "", false},
	{"inside the Undo of b", roleTreks, insideStepUndo, 1, back, "", false},
	{"after the Undo of b", roleTreks, fault.SagaUndoAfterCommit, 1, back, "", false},
	{"before the Undo of seat", roleTreks, fault.SagaUndoBefore, 2, back, "", false},
	{"call to undo seat, before its confirm", roleTreks, fault.SagaCallBeforeConfirm, 2, back, "", false},
	{"call to undo seat, after its confirm", roleTreks, fault.SagaCallAfterConfirm, 2, back, "", false},
	{"reply to undo seat, taken", roleTreks, fault.SagaReplyTaken, 2, back, "", false},
	{"before the Undo of a", roleTreks, fault.SagaUndoBefore, 3, back, "", false},
	{"inside the Undo of a", roleTreks, insideStepUndo, 2, back, "", false},
	{"after the Undo of a", roleTreks, fault.SagaUndoAfterCommit, 2, back, "", false},
	{"before the Do of a", roleTreks, fault.SagaDoBefore, 1, on, "", false},
	{"inside the Do of a", roleTreks, insideStep, 1, on, "", false},
	{"after the Do of a", roleTreks, fault.SagaDoAfterCommit, 1, on, "", false},
	{"before the Do of seat", roleTreks, fault.SagaDoBefore, 2, on, "", false},
	{"call to do seat, before its confirm", roleTreks, fault.SagaCallBeforeConfirm, 1, on, "", false},
	{"call to do seat, after its confirm", roleTreks, fault.SagaCallAfterConfirm, 1, on, "", false},
	{"reply to do seat, taken", roleTreks, fault.SagaReplyTaken, 1, on, "", false},
	{"before the Do of b", roleTreks, fault.SagaDoBefore, 3, on, "", false},
	{"inside the Do of b", roleTreks, insideStep, 2, on, "", false},
	{"after the Do of b", roleTreks, fault.SagaDoAfterCommit, 2, on, "", false},
	{"before the Do of end", roleTreks, fault.SagaDoBefore, 4, on, "", false},
	{"inside the Do of end", roleTreks, insideStep, 3, on, "", false},
	{"after the Do of end", roleTreks, fault.SagaDoAfterCommit, 3, on, "", false},
	{"after the Do of a, which is undone", roleTreks, fault.SagaDoAfterCommit, 1, back, "", false},
	{"after the Do of b, which is undone", roleTreks, fault.SagaDoAfterCommit, 2, back, "", false},
	{"before the refusal", roleTreks, insideStep, 3, back, "", false},
	{"after the refusal", roleTreks, fault.SagaDoAfterCommit, 3, back, "", false},

	{"participant: before the Do", roleSeats, fault.ConsumeBefore, 1, on, "", false},
	{"participant: inside the Do", roleSeats, insideStep, 1, on, "", false},
	{"participant: after the Do", roleSeats, fault.SagaDoAfterCommit, 1, on, "", false},
	{"participant: reply to the Do, before its confirm", roleSeats, fault.SagaReplyBeforeConfirm, 1, on, "", false},
	{"participant: reply to the Do, before the ack", roleSeats, fault.SagaReplyBeforeAck, 1, on, "", false},
	{"participant: inside the Do, which is undone", roleSeats, insideStep, 1, back, "", false},
	{"participant: after the Do, which is undone", roleSeats, fault.SagaDoAfterCommit, 1, back, "", false},
	{"participant: before the Undo", roleSeats, fault.ConsumeBefore, 2, back, "", false},
	{"participant: inside the Undo", roleSeats, insideStepUndo, 1, back, "", false},
	{"participant: after the Undo", roleSeats, fault.SagaUndoAfterCommit, 1, back, "", false},
	{"participant: reply to the Undo, before its confirm", roleSeats, fault.SagaReplyBeforeConfirm, 2, back, "", false},
	{"participant: reply to the Undo, before the ack", roleSeats, fault.SagaReplyBeforeAck, 2, back, "", false},
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
	rows := slices.Clone(deaths)
	for _, row := range deaths { // an Undo is the workflow's in either lane
		if row.who == roleTreks && !strings.Contains(row.name, "undo ") && !strings.Contains(row.name, "Undo") {
			row.name, row.lane = "express: "+row.name, holdfast.Express
			rows = append(rows, row)
		}
	}
	for _, point := range []string{fault.HalfAfterConfirm, fault.CommitAfterConfirm} {
		rows = append(rows, death{"express: " + point, roleTreks, point, 1, on, holdfast.Express, false})
	}
	s.dies(t, rows)
}

// TestSagaCohortMatrix is the same for sagas that share a workflow.
func TestSagaCohortMatrix(t *testing.T) {
	t.Parallel()
	sagaSite(t).dies(t, cohortDeaths())
}

// dies looks at these deaths, many at once.
func (s *site) dies(t *testing.T, rows []death) {
	t.Helper()
	const atOnce = 13
	var all []*doomed
	came := 0
	for some := range slices.Chunk(rows, atOnce) {
		begun := len(all)
		for _, row := range some {
			all = append(all, s.doom(row))
		}
		for _, d := range all[begun:] {
			if d.succeed() {
				came++
			}
		}
	}
	require.Greater(t, 2*came, len(rows), "most come to their fault")
	for _, d := range all {
		t.Run(d.name, d.verify)
		d.agency.stop()
		d.seats.stop()
	}
}

// cohortDeaths are the rows of three treks that share a workflow: at each point, the process dies
// when the first, the second or the last of them comes there, in every round.
func cohortDeaths() (rows []death) {
	const members, rounds = 3, 4
	row := func(point string, nth int, back bool) {
		name := fmt.Sprintf("cohort: %s, time %d", point, nth)
		if back {
			name += ", which is undone"
		}
		rows = append(rows, death{name, roleTreks, point, nth, back, holdfast.Traced, true})
	}
	for nth := range members * (rounds - 1) { // the local steps
		row(insideStep, nth+1, on)
		row(fault.SagaDoAfterCommit, nth+1, on)
	}
	for nth := range members { // the participant's
		row(fault.SagaDoBefore, nth+1, on)
		row(fault.SagaCallBeforeConfirm, nth+1, on)
		row(fault.SagaCallAfterConfirm, nth+1, on)
		row(fault.SagaReplyTaken, nth+1, on)
		row(fault.CommitAfterConfirm, nth+1, on)
		row(insideStep, 2*members+nth+1, back)
		row(fault.SagaTaken, nth+1, back)
		row(fault.SagaDoAfterCommit, 2*members+nth+1, back)
	}
	for nth := range rounds {
		row(fault.SagaRoundTold, nth+1, on)
	}
	return rows
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
	own.at.Prefix, own.consumers, own.cohorts = stacktest.Prefix(s.t), map[string]bool{"seat.take": true}, row.cohort
	s.t.Cleanup(own.deleteQueues)
	s.t.Cleanup(own.deleteSagaQueues)
	d := &doomed{death: row, s: &own, id: newID()}
	c := childConfig{Role: d.who, Fault: d.at, Nth: d.nth, Tx: d.id, Back: d.back, Lane: lanes[0].name, SagaLane: d.lane,
		Cohorts: d.cohort}
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

// succeed has another process take over from the one that has died, and reports whether that came to
// its fault: on a slow machine members leave their cohort before, and it dies elsewhere.
func (d *doomed) succeed() (came bool) {
	d.s.t.Helper()
	if came = true; d.cohort {
		came = d.child.killedInTime()
	} else {
		d.child.killed()
	}
	if d.who == roleTreks {
		d.agency = d.s.treks(d.lane)
		return came
	}
	d.seats = d.s.participants(deadlySeats(d.s.effects))
	return came
}

// verify waits for the saga's end, and requires that it is the right one
// everywhere, and stays so.
func (d *doomed) verify(t *testing.T) {
	if !d.cohort {
		d.verifyOne(t)
		return
	}
	for _, id := range treksWith(d.id) {
		one := *d
		one.id = id
		one.verifyOne(t)
	}
}

func (d *doomed) verifyOne(t *testing.T) {
	s := *d.s
	s.t = t
	var j journey
	var err error
	until(t, "it is found, by its begin row, its half message's hand-over, or its workflow", func() bool {
		j, err = worker.JoinSaga(d.agency.Worker, trek, d.id).Wait(s.ctx())
		return d.lane == "" || !errors.Is(err, holdfast.ErrNotFound)
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
