package sagas

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/dtm"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// DTM is how the local saga is written with dtm.
var DTM = contest.Competitor{
	Name: "dtm-saga",
	About: dtm.About + ": a saga of the same three inserts and their compensations in this process, " +
		"one branch after the other, each with its barrier row in one transaction; " +
		"the caller waits for the result (WaitResult). " +
		"The saga has no state that its steps change, and no message goes through a broker",
	Most: contest.SlowMost,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return lazilyDTM(ctx, s, &books{db: s.DB, local: 3}, nil)
	},
}

// DTMMixed is how the saga over two processes is written with dtm.
var DTMMixed = contest.Competitor{
	Name: "dtm-saga-mixed",
	About: "as dtm-saga, with the branches of saga-mixed: two in this process, " +
		"two in another process with a database of its own, which dtm's server calls over gRPC instead of sending messages",
	Most: contest.SlowMost,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		p, err := newParticipants(ctx, s, participantBranches, "dtm-saga-mixed")
		if err != nil {
			return nil, err
		}
		return lazilyDTM(ctx, s, &books{db: s.DB, participants: p.db, local: 2, remote: 2}, p)
	},
}

// undoSuffix makes a compensation's name of its branch's.
const undoSuffix = ".undo"

// lazilyDTM builds dtm's server now, and starts it for each measurement.
func lazilyDTM(ctx context.Context, s *servers.Servers, b *books, p *participants) (*contest.Entry, error) {
	if err := dtm.Build(); err != nil {
		return nil, err
	}
	return contest.Lazily(func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openDTM(ctx, s, b, p)
	})(ctx, s)
}

// openDTM serves the branches of this process, and starts dtm's server.
func openDTM(ctx context.Context, s *servers.Servers, b *books, p *participants) (_ *contest.Entry, err error) {
	local := map[string]work{}
	for _, step := range []string{stepCreate, stepInvoice, stepConfirm} {
		local[step] = work{do: inserts(step), undo: deletes(step)}
	}
	d := &dtmSaga{}
	stop := func() error { return errors.Join(p.stop(), d.stop()) }
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	if d.service, err = serveBranches(ctx, s.DB, local); err != nil {
		return nil, err
	}
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	if d.server, err = dtm.Start(ctx, s); err != nil {
		return nil, err
	}
	here := d.service.Address
	d.steps = [][2]string{{here, stepCreate}, {here, stepInvoice}, {here, stepConfirm}}
	if p != nil {
		d.steps = [][2]string{{here, stepCreate}, {p.address, stepReserve}, {p.address, stepCharge}, {here, stepConfirm}}
	}
	return &contest.Entry{
		Drive:  measure.ClosedLoop(func(context.Context) error { return b.count(d.run) }),
		Settle: func(ctx context.Context) error { return errors.Join(stop(), b.check(ctx)) },
	}, nil
}

// dtmSaga is the saga: its branches, and who serves and calls them.
type dtmSaga struct {
	server  *dtm.Server
	service *dtm.Service
	steps   [][2]string // address and branch
}

func (d *dtmSaga) stop() (err error) {
	if d.server != nil {
		err = d.server.Stop()
	}
	if d.service != nil {
		d.service.Stop()
	}
	return err
}

// run runs a saga to its end.
func (d *dtmSaga) run(o order) error {
	payload, err := dtm.Payload(o)
	if err != nil {
		return err
	}
	s := dtmgrpc.NewSagaGrpc(d.server.Address, o.Number)
	s.WaitResult = true
	for _, step := range d.steps {
		s.Add(dtm.URL(step[0], step[1]), dtm.URL(step[0], step[1]+undoSuffix), payload)
	}
	return s.Submit()
}

// work is what a step does, and what undoes it.
type work struct{ do, undo func(*gorm.DB, order) error }

func inserts(step string) func(*gorm.DB, order) error {
	return func(tx *gorm.DB, o order) error {
		_, err := insertStep(tx, o, step)
		return err
	}
}

func deletes(step string) func(*gorm.DB, order) error {
	return func(tx *gorm.DB, o order) error { return deleteStep(tx, o, step) }
}

// serveBranches serves the work of steps on db, each once, by dtm's barrier.
func serveBranches(ctx context.Context, db *gorm.DB, steps map[string]work) (*dtm.Service, error) {
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	if err := dtm.Barriers(ctx, pool); err != nil {
		return nil, err
	}
	branches := map[string]dtm.Branch{}
	for step, w := range steps {
		branches[step], branches[step+undoSuffix] = branch(db, pool, w.do), branch(db, pool, w.undo)
	}
	return dtm.Serve(branches)
}

// branch is a branch that does f once. The transaction is dtm's; gorm works in it, as for
// the other competitors.
func branch(db *gorm.DB, pool *sql.DB, f func(*gorm.DB, order) error) dtm.Branch {
	return func(ctx context.Context, b *dtmcli.BranchBarrier, payload []byte) error {
		var o order
		if err := json.Unmarshal(payload, &o); err != nil {
			return err
		}
		return b.CallWithDB(pool, func(tx *sql.Tx) error {
			in := db.Session(&gorm.Session{Context: ctx, NewDB: true, SkipDefaultTransaction: true})
			in.Statement.ConnPool = tx
			return f(in, o)
		})
	}
}

// startParticipantBranches takes part as a service of dtm's does.
func startParticipantBranches(db *gorm.DB) (address string, stop func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), branchesTimeout)
	defer cancel()
	s, err := serveBranches(ctx, db, map[string]work{stepReserve: {reserve, unreserve}, stepCharge: {charge, refund}})
	if err != nil {
		return "", nil, err
	}
	return s.Address, s.Stop, nil
}

const branchesTimeout = time.Minute
