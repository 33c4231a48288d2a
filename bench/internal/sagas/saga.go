// Package sagas has the competitors that run sagas, beside the same written by hand
// as workflows, and the books that say whether all that the sagas write is there.
// The participants of the mixed sagas are a process of their own.
package sagas

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// The steps of the sagas.
const (
	stepCreate  = "create-order"
	stepInvoice = "write-invoice"
	stepConfirm = "confirm-order"
	stepReserve = "reserve-stock"  // a participant's
	stepCharge  = "charge-payment" // a participant's
)

// Local is a saga in one process.
var Local = contest.Competitor{
	Name: "saga-local",
	About: "worker.StartSaga and Wait with Tuning.MaxSagaCohort 1, so that each saga has a workflow of its own: " +
		"a saga of three local steps, one insert and the step row each",
	Most: contest.SlowMost,
	Open: openLocal("saga-local", holdfast.Traced, own),
}

// LocalExpress is the same in the Express lane.
var LocalExpress = contest.Competitor{
	Name: "saga-express",
	About: "as saga-local, with Lane Express in the saga's definition: half record, three local steps, op record; " +
		"the same process runs the group's Keeper",
	Open: openLocal("saga-express", holdfast.Express, own),
}

// LocalCohorts is the same with workflows that sagas share.
var LocalCohorts = contest.Competitor{
	Name: "saga-cohorts",
	About: "as saga-local, with a worker's defaults (Tuning.MaxSagaCohort 48): the sagas that are started at the same " +
		"moment share a workflow, whose rounds are local activities",
	Open: openLocal("saga-cohorts", holdfast.Traced, defaults),
}

// LocalTrusting is the same where the begin row alone tells whether a key was used.
var LocalTrusting = contest.Competitor{
	Name:  "saga-trusting",
	About: "as saga-cohorts, with Options.TrustBeginRows: no saga is looked for in Temporal",
	Open:  openLocal("saga-trusting", holdfast.Traced, trusting),
}

// Mixed is a saga over two processes.
var Mixed = contest.Competitor{
	Name: "saga-mixed",
	About: "worker.StartSaga and Wait with Tuning.MaxSagaCohort 1: a saga of two local and two message steps, " +
		"whose participants are in another process with a database of their own; " +
		"one insert and the step row each, and one participant's stock",
	Most: contest.SlowMost,
	Open: openMixed("saga-mixed", holdfast.Traced, own),
}

// MixedCohorts is the same with workflows that sagas share.
var MixedCohorts = contest.Competitor{
	Name: "saga-mixed-cohorts",
	About: "as saga-mixed, with a worker's defaults (Tuning.MaxSagaCohort 48): the sagas that are started at the same " +
		"moment share a workflow",
	Most: contest.SlowMost,
	Open: openMixed("saga-mixed-cohorts", holdfast.Traced, defaults),
}

// MixedTrusting is the same where the begin row alone tells whether a key was used.
var MixedTrusting = contest.Competitor{
	Name:  "saga-mixed-trusting",
	About: "as saga-mixed-cohorts, with Options.TrustBeginRows",
	Most:  contest.SlowMost,
	Open:  openMixed("saga-mixed-trusting", holdfast.Traced, trusting),
}

// MixedExpress is the same in the Express lane, with as many callers: if there are too
// many, replies come later than that lane waits for them.
var MixedExpress = contest.Competitor{
	Name:  "saga-mixed-express",
	About: "as saga-mixed, with Lane Express in the saga's definition",
	Most:  contest.SlowMost,
	Open:  openMixed("saga-mixed-express", holdfast.Express, own),
}

// own gives each saga of the Traced lane a workflow of its own.
func own(o *worker.Options) { o.Tuning.MaxSagaCohort = 1 }

func defaults(*worker.Options) {}

func trusting(o *worker.Options) { o.TrustBeginRows = true }

func openLocal(name string, lane holdfast.Lane, change func(*worker.Options)) contest.Opener {
	return func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openSaga(ctx, s, localSaga(name, lane), change, &books{db: s.DB, local: 3}, nil)
	}
}

// localSaga is a saga of three local steps.
func localSaga(name string, lane holdfast.Lane) saga.Saga[order] {
	return saga.Saga[order]{
		Name: name,
		Key:  func(o order) string { return o.Number },
		Lane: lane,
		Steps: []saga.Step[order]{
			localStep(stepCreate),
			localStep(stepInvoice),
			localStep(stepConfirm),
		},
	}
}

func openMixed(name string, lane holdfast.Lane, change func(*worker.Options)) contest.Opener {
	return func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		p, err := newParticipants(ctx, s, participantWorker, name)
		if err != nil {
			return nil, err
		}
		deleteAtEnd(s, name)
		reserve, unreserve := topicsOf(name, stepReserve)
		charge, refund := topicsOf(name, stepCharge)
		return openSaga(ctx, s, saga.Saga[order]{
			Name: name,
			Key:  func(o order) string { return o.Number },
			Lane: lane,
			Steps: []saga.Step[order]{
				localStep(stepCreate),
				saga.Message(stepReserve, reserve, unreserve),
				saga.Message(stepCharge, charge, refund),
				localStep(stepConfirm),
			},
		}, change, &books{db: s.DB, participants: p.db, local: 2, remote: 2}, p)
	}
}

// localStep inserts its row and notes it in the state.
func localStep(name string) saga.StepDef {
	return saga.Local(name,
		func(_ context.Context, tx *gorm.DB, o *order) error {
			id, err := insertStep(tx, *o, name)
			o.Rows = append(o.Rows, id)
			return err
		},
		func(_ context.Context, tx *gorm.DB, o *order) error { return deleteStep(tx, *o, name) })
}

// openSaga runs def in a worker of this process.
func openSaga(ctx context.Context, s *servers.Servers, def saga.Saga[order], change func(*worker.Options),
	b *books, p *participants) (*contest.Entry, error) {
	options := worker.Options{Group: def.Name, Temporal: s.Temporal, Namespace: s.Stack.Namespace(),
		AMQPURL: s.Stack.AMQPURL(), DB: s.DB, Prefix: s.Prefix}
	change(&options)
	w, err := worker.New(options)
	if err != nil {
		return nil, err
	}
	w.Saga(def)
	stop, err := servers.RunWorker(ctx, w)
	if err != nil {
		return nil, err
	}
	e := newEntry(s, sagas.Name, workflows.TaskQueue(s.Prefix, def.Name), b, p,
		func(ctx context.Context, o order) (order, error) {
			h, err := worker.StartSaga(ctx, w, def, o)
			if err != nil {
				return o, err
			}
			return h.Wait(ctx)
		})
	e.Close = stop
	if def.Lane == holdfast.Express {
		inExpress(s, e, def.Name, b)
	}
	return e, nil
}

// newEntry is an entry of one way of running sagas, as workflows of a
// type on a task queue.
func newEntry(s *servers.Servers, workflowType, queue string, b *books,
	p *participants, run func(context.Context, order) (order, error)) *contest.Entry {
	return &contest.Entry{
		Prepare: func(ctx context.Context) error {
			if err := b.open(ctx); err != nil {
				return err
			}
			return p.start(ctx)
		},
		Drive: b.drive(run),
		Settle: func(ctx context.Context) error {
			err := s.AwaitClosed(ctx, workflowType, queue)
			if err == nil {
				err = b.check(ctx)
			}
			return errors.Join(err, p.stop())
		},
	}
}

// participants are the process of the participants, a new one for each
// measurement, and their database. Nil are none.
type participants struct {
	s               *servers.Servers
	way, competitor string
	dsn             string
	db              *gorm.DB // to look into it
	child           *child.Process
	address         string // of the process, where it says so
}

func newParticipants(ctx context.Context, s *servers.Servers, way, competitor string) (*participants, error) {
	const looking = 2 // connections
	p := &participants{s: s, way: way, competitor: competitor}
	var err error
	p.db, p.dsn, err = s.NewDatabase(ctx, s.Database+"_"+strings.ReplaceAll(competitor, "-", "_"), looking)
	return p, err
}

func (p *participants) start(ctx context.Context) (err error) {
	if p != nil {
		p.child, p.address, err = startParticipant(ctx, p.s, p.way, p.competitor, p.dsn)
	}
	return err
}

func (p *participants) stop() error {
	if p == nil || p.child == nil {
		return nil
	}
	defer func() { p.child = nil }()
	return p.child.Stop()
}
