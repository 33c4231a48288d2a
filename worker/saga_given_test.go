package worker_test

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// till is a participant that charges and refunds what its messages say.
func (s *site) till() worker.Participant {
	book := func(what string) worker.Participation {
		return worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (string, error) {
			return "r-1", write(tx, j.ID, "%s %d %s", what, j.Price, j.By)
		})
	}
	return worker.Participant{Topic: "pay.charge", UndoTopic: "pay.refund", DB: s.effects, Tries: 1, Ladder: noLadder, Do: book("charge"), Undo: book("refund")}
}

func paid() saga.StepDef {
	return saga.Message("charge", "pay.charge", "pay.refund").Receive(saga.Into(func(j *journey, receipt string) error { j.By = receipt; return nil }))
}

// prices is a local step that halves the price, and books what its Undo is given.
func prices(name string) saga.StepDef {
	return saga.Local(name,
		func(_ context.Context, tx *gorm.DB, j *journey) error {
			j.Price /= 2
			return write(tx, j.ID, "%s %d", name, j.Price)
		},
		func(_ context.Context, tx *gorm.DB, j *journey) error {
			j.Room = "free"
			return write(tx, j.ID, "undo %s %d", name, j.Price)
		})
}

// TestSagaUndoesWhatWasDone: with the amounts of then, whatever later steps changed,
// and what the Undos change is in the state that Wait returns.
func TestSagaUndoesWhatWasDone(t *testing.T) {
	s := sagaSite(t)
	s.participants(s.till())
	fail := does("fail", func(*journey) error { return saga.Refuse("no") })
	def := travel(paid(), prices("discount"), prices("rebate"), fail)
	end := saga.Saga[journey]{Name: "paid", Key: journeyID, Steps: []saga.Step[journey]{paid(), prices("discount"), prices("rebate")}}
	w := s.agency(def, end)
	start := func(j *journey) { j.Price, j.Room = 100, "12" }
	undone := []string{"charge 100 ", "discount 50", "rebate 25", "undo rebate 25", "undo discount 50", "refund 100 r-1"}

	j, err := s.travels(w, def, start)
	require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, undone, s.chronicle(j.ID))
	require.Equal(t, journey{ID: j.ID, Room: "free", By: "r-1", Price: 25}, j)

	j, err = s.travels(w, end, start)
	require.NoError(t, err)
	id := s.sagaID("paid", j.ID)
	var status sagas.Status
	require.NoError(t, s.temporal.GetWorkflow(s.ctx(), id, "").Get(s.ctx(), &status))
	s.undo(id, j.ID, status, false)
	require.Equal(t, undone, s.chronicle(j.ID), "also by another workflow, after its end")
}

// TestSagaOfWhatWasNeverSent: nothing is undone of it, and nobody has to look.
func TestSagaOfWhatWasNeverSent(t *testing.T) {
	s := sagaSite(t)
	s.participants(s.till())
	def := travel(local("a"), saga.Message("charge", "pay.charge", "pay.refund").
		Send(saga.From(func(journey) float64 { return math.NaN() })).Retry(once))
	j, err := s.travels(s.agency(def), def)
	require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "undo a"}, s.chronicle(j.ID))
	require.Equal(t, core.Failed, s.sagaStatus(s.sagaID("travel", j.ID)).Core.Steps["charge"].Status)
}

// TestSagaOutsideEffect: what failed in its database may have had an effect
// elsewhere. It is shown so, or undone where the definition says that it can be.
func TestSagaOutsideEffect(t *testing.T) {
	s := sagaSite(t)
	var mu sync.Mutex
	outside := map[string]int{} // charged less refunded
	book := func(who string, n int) {
		mu.Lock()
		defer mu.Unlock()
		outside[who] += n
	}
	till := func(topic string, uncertain bool) worker.Participant {
		return worker.Participant{Topic: topic + ".charge", UndoTopic: topic + ".refund", DB: s.effects, Tries: 1, Ladder: noLadder, UndoUncertain: uncertain,
			Do: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (any, error) {
				book(topic, j.Price)
				return nil, tx.Exec("INSERT INTO no_such_table VALUES (1)").Error
			}),
			Undo: worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, j journey) (any, error) { book(topic, -j.Price); return nil, nil })}
	}
	s.participants(till("sure", false), till("unsure", true))
	api := func(name string) saga.StepDef {
		return saga.Local(name,
			func(_ context.Context, tx *gorm.DB, j *journey) error {
				book(name, j.Price)
				return tx.Exec("INSERT INTO no_such_table VALUES (1)").Error
			},
			func(_ context.Context, _ *gorm.DB, j *journey) error { book(name, -j.Price); return nil }).Retry(once)
	}
	message := func(topic string) saga.StepDef {
		return saga.Message(topic, topic+".charge", topic+".refund").Retry(once)
	}
	steps := map[string]saga.StepDef{"sure": message("sure"), "unsure": message("unsure"), "api": api("api"), "unsure-api": api("unsure-api").UndoUncertain()}
	var defs []saga.Definition
	for name, step := range steps {
		defs = append(defs, saga.Saga[journey]{Name: name, Key: journeyID, Steps: []saga.Step[journey]{step}})
	}
	w := s.agency(defs...)
	for _, def := range defs {
		def := def.(saga.Saga[journey])
		j, err := s.travels(w, def, func(j *journey) { j.Price = 100 })
		require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
		status := s.sagaStatus(s.sagaID(def.Name, j.ID)).Core.Steps[def.Name].Status
		if strings.HasPrefix(def.Name, "unsure") {
			require.Equal(t, core.Undone, status, def.Name)
			require.Zero(t, outside[def.Name], def.Name)
			continue
		}
		require.Equal(t, core.UnknownOutside, status, def.Name)
		require.Equal(t, 100, outside[def.Name], "nobody knows how to undo it: that is said")
	}
}
