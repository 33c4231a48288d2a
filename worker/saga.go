package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/sagahandle"
	"github.com/holdfastmq/holdfast/internal/sagareplies"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// sagaParts are the sagas of a process's producer group: what is registered, and who
// waits for what.
type sagaParts struct {
	defs    sagarun.Definitions
	waiters sagarun.Waiters   // steps, for replies
	express *sagaexpress.Lane // nil: this process cannot run one
	handles *sagahandle.Handles
}

// Saga registers a definition with this worker's group, and with it the sagas that
// it has as steps. Call it before Run, which returns what is wrong with it. Several
// versions of one name can be registered.
func (w *Worker) Saga(def saga.Definition) {
	if def == nil {
		w.problem(fmt.Errorf("%w: Saga needs a definition", holdfast.ErrInvalid))
		return
	}
	c, err := def.Compile()
	if err == nil {
		w.chooseLanes(c)
		err = w.sagas.defs.Add(c)
	}
	if err != nil {
		w.problem(err)
	}
}

// chooseLanes says of a definition, and of those that it has as steps, whether their lane is
// Express. While processes of the version before may keep the half queue, none is: their
// Keepers cannot hand one over.
func (w *Worker) chooseLanes(c *saga.Compiled) {
	lanes := map[string]holdfast.Lane{}
	all := append(c.Subs(), c)
	for _, c := range all {
		lanes[c.Plan.Name] = cmp.Or(c.Lane, w.o.Lanes[laneOfSaga+c.Plan.Name])
	}
	var choose func(p *core.Plan)
	choose = func(p *core.Plan) {
		p.Express = lanes[p.Name] == holdfast.Express && !w.o.RollingUpgrade
		p.Cohort = !p.Express && w.sagaCohorts(p)
		p.Each(func(s *core.Step, _ int) {
			if s.Saga != nil {
				choose(s.Saga)
			}
		})
	}
	for _, c := range all {
		choose(&c.Plan)
	}
}

// sagaCohorts reports whether sagas of the Traced lane share workflows, here or in another process
// of the group: whatever MaxSagaCohort is here, a workflow of its own takes the saga's begin row.
// Processes of the version before could not run these. Unless cohorts are asked for, a saga needs
// a local step: without one, a process of the group may have it and no database, and its workflow
// no begin row.
func (w *Worker) sagaCohorts(p *core.Plan) bool {
	return w.o.DB != nil && !w.o.RollingUpgrade && p.Quick() && (p.HasLocal() || w.o.sagaCohortsAsked)
}

// sagaProblems finds what the registered sagas lack.
func (w *Worker) sagaProblems() {
	all := w.sagas.defs.All()
	if len(all) > 0 && w.o.Temporal == nil {
		w.problem(needsTemporal("saga " + all[0].Plan.Name))
	}
	if len(w.activities) > 0 && w.o.Temporal == nil {
		w.problem(needsTemporal("Activity"))
	}
	if w.o.TrustBeginRows {
		w.beginRowProblems(all)
	}
	if w.box.Seals() {
		w.sealingProblems()
	}
	if w.box.Has() { // also where it only reads
		w.activityProblems()
	}
	if name, step := w.sagas.defs.Local(); name != "" && w.o.DB == nil {
		w.problem(fmt.Errorf("%w: saga %s, step %s: a local step needs Options.DB", holdfast.ErrInvalid, name, step))
	}
}

// beginRowProblems finds sagas of which one version takes a begin row, and another does not.
func (w *Worker) beginRowProblems(all []*saga.Compiled) {
	without := map[string]int{}
	for _, c := range all {
		if !c.Plan.BeginRow() {
			without[c.Plan.Name] = c.Plan.Version
		}
	}
	for _, c := range all {
		if v, some := without[c.Plan.Name]; some && c.Plan.BeginRow() {
			delete(without, c.Plan.Name) // said once
			w.problem(fmt.Errorf("%w: TrustBeginRows is set, and of saga %s version %d has no begin row, version %d has one: "+
				"unset it in all processes of the group, until one of them is gone", holdfast.ErrInvalid, c.Plan.Name, v,
				c.Plan.Version))
		}
	}
}

// reserveNames has what is registered here keep its names in the metrics, whatever sagas and
// topics of others come first. Consumers have theirs already.
func (w *Worker) reserveNames() {
	for _, c := range w.sagas.defs.All() {
		var topics []string
		c.Plan.Each(func(s *core.Step, _ int) {
			if s.Kind == core.Message {
				topics = append(topics, s.Topic)
			}
		})
		w.metrics.ReserveSaga(c.Plan.Name, topics...)
	}
	for topic := range w.checkers {
		w.metrics.ReserveTopic(topic)
	}
	for topic := range w.compensations {
		w.metrics.ReserveTopic(topic)
	}
	for topic := range w.o.Lanes {
		if !strings.HasPrefix(topic, laneOfSaga) {
			w.metrics.ReserveTopic(topic)
		}
	}
}

// sealingProblems finds what would be in clear although there is a keyring.
func (w *Worker) sealingProblems() {
	for _, c := range w.sagas.defs.All() {
		c.Plan.Each(func(s *core.Step, _ int) {
			if s.Kind == core.Activity && s.TaskQueue != "" {
				w.problem(fmt.Errorf("%w: saga %s, step %s: with a keyring no activity can be called on another task queue (%s), "+
					"whose workers could not read its input: register it with Activity here, or call a participant",
					holdfast.ErrInvalid, c.Plan.Name, s.Name, s.TaskQueue))
			}
		})
	}
}

// activityProblems finds the activities whose input could not be decrypted.
func (w *Worker) activityProblems() {
	for name, f := range w.activities {
		if !seal.Takes(f) {
			w.problem(fmt.Errorf("%w: activity %q: with a keyring its function has to take a saga.ActivityInput, "+
				"after a context or not, which is decrypted for it", holdfast.ErrInvalid, name))
		}
	}
}

// stepNames reports whether the activities of a saga that is begun here are named after
// its steps. Processes of an earlier version could not take these; and a process that only
// sends does not know which activities the others have.
func (w *Worker) stepNames(plan core.Plan) bool {
	return !w.o.RollingUpgrade && !w.o.SendOnly &&
		sagas.CanNameSteps(&plan, func(name string) bool { return w.activities[name] != nil })
}

// sagaRunner runs the steps of this process's sagas.
func (w *Worker) sagaRunner(replies *sagareplies.Replies) *sagarun.Runner {
	return &sagarun.Runner{Definitions: &w.sagas.defs, DB: w.o.DB, Database: w.databases.Own(),
		OtherDatabase: w.databases.TellOther, Calls: replies, Waiting: replies.Waiting, Waiters: &w.sagas.waiters,
		Completed: w.sagas.handles.Completed, Box: w.box, Trace: w.trace}
}

// sagaHandles are what the handles of this process's sagas do.
func (w *Worker) sagaHandles() *sagahandle.Handles {
	defs := &w.sagas.defs
	if w.o.SendOnly { // others have them
		defs = nil
	}
	if defs != nil && w.o.Temporal != nil { // with RollingUpgrade for those that began before: none begins
		w.sagas.express = w.sagaExpress()
	}
	return sagahandle.New(sagahandle.Options{Prefix: w.o.Prefix, Group: w.o.Group,
		Tokens: !w.o.RollingUpgrade, TaskTimeout: w.o.Timeouts.Task, Temporal: w.o.Temporal, Gate: gate{w},
		Rolling: w.o.RollingUpgrade, MaxCohort: w.o.Tuning.MaxSagaCohort, CohortsInFlight: w.o.Tuning.CohortsInFlight,
		TrustRows: w.o.TrustBeginRows, Express: w.sagas.express, Bounded: w.lanes.Bounded, Definitions: defs,
		StepNames: w.stepNames, Database: w.databases.Own, Metrics: w.metrics, Trace: w.trace})
}

// sagaExpress runs this process's sagas of the Express lane.
func (w *Worker) sagaExpress() *sagaexpress.Lane {
	return sagaexpress.New(sagaexpress.Options{Prefix: w.o.Prefix, Group: w.o.Group, Instance: w.o.Instance,
		DB: w.o.DB, Database: w.databases.Own, Tokens: !w.o.RollingUpgrade, StepNames: w.stepNames, Gate: gate{w},
		CheckAfter: w.o.CheckAfter, Logger: w.o.Logger, Most: w.o.Tuning.MaxSagas,
		HandOver: func(ctx context.Context, in sagas.Input) (bool, error) {
			return w.sagas.handles.HandOver(ctx, in)
		},
		Completed: func(saga activities.SagaRef, began time.Time, state []byte) {
			w.metrics.SagaEnded(saga.Name, holdfast.SagaCompleted)
			w.metrics.SagaTook(saga.Name, holdfast.SagaCompleted, time.Since(began))
			w.trace.SagaEnded(saga.Trace, saga.Name, saga.ID, holdfast.SagaCompleted, began)
			w.sagas.handles.Completed(saga.ID, state)
		},
		Joined:   func(id string, state []byte) { w.sagas.handles.Completed(id, state) },
		Deserted: func(ctx context.Context, holder string) bool { return w.sagas.handles.Deserted(ctx, holder) },
		Plan: func(name string, version int) *core.Plan {
			c, err := w.sagas.defs.Find(name, version)
			if err != nil {
				return nil
			}
			return &c.Plan
		}})
}

// handOverSaga is for the Keeper, which gives its place to a process that has the saga's
// database, if there is one.
func (w *Worker) handOverSaga(ctx context.Context, h holdfast.Half) error {
	err := w.sagas.handles.HandOverHalf(ctx, h)
	if !errors.Is(err, sagahandle.ErrElsewhere) {
		return err
	}
	answers, _ := w.broker.Ask(ctx, 0) // those that came before an error count, too
	for _, p := range answers {
		for _, d := range p.Databases {
			if !w.broker.Answers(p) && d.Group == w.o.Group && (h.Database == "" || h.Database == d.Identity) {
				return broker.ErrYield
			}
		}
	}
	return err
}

// useExpress has the Express lane of sagas ask participants through replies; nil: it cannot.
func (w *Worker) useExpress(replies *sagareplies.Replies) {
	if w.sagas.express == nil {
		return
	}
	calls := replies != nil
	if !calls {
		replies = w.sagaReplies()
	}
	w.sagas.express.Use(w.sagaRunner(replies), calls)
}

// sagaReplies takes what participants reply to this process's sagas.
func (w *Worker) sagaReplies() *sagareplies.Replies {
	return sagareplies.New(sagareplies.Options{Prefix: w.o.Prefix, Group: w.o.Group, Broker: w.broker,
		Temporal: w.o.Temporal, Definitions: &w.sagas.defs, TrustRows: w.o.TrustBeginRows, Waiters: &w.sagas.waiters,
		Metrics: w.metrics, Trace: w.trace, Logger: w.o.Logger})
}

// sagaEnded takes note of a saga that has ended in this process. had: of its end, which was
// before it got a workflow, whoever ran it has taken note.
func (w *Worker) sagaEnded(s sagas.Status, had bool) {
	if !had {
		w.measureEnded(s)
	}
	w.sagas.handles.Ended(s)
}

func (w *Worker) measureEnded(s sagas.Status) {
	w.metrics.SagaEnded(s.Name, s.State)
	if !s.Began.IsZero() {
		w.metrics.SagaTook(s.Name, s.State, time.Since(s.Began))
	}
	w.trace.SagaEnded(s.Trace, s.Name, s.ID, s.State, s.Began)
	for step, at := range s.Core.Steps {
		if at.Status == core.UnknownOutside {
			w.o.Logger.Info("a saga's step is not undone: "+
				"its Do has no row, and what it did outside its database is not known",
				"saga", s.ID, "step", step, "status", at.Status.String())
		}
	}
}
