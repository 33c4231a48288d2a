package transactions

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/dtm"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// DTM is dtm's two-phase message.
var DTM = contest.Competitor{
	Name: "dtm-msg",
	About: dtm.About + ": a two-phase message (DoAndSubmitDB): one insert and the barrier row in one transaction, " +
		"then one branch, which does nothing, in this process. The caller has its answer when the message is submitted; " +
		"no broker keeps it",
	Most: contest.SlowMost,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		if err := dtm.Build(); err != nil {
			return nil, err
		}
		return contest.Lazily(openDTM)(ctx, s)
	},
}

// What the service of dtm-msg is asked for.
const (
	branchDeliver = "deliver"
	branchCheck   = "check" // the check-back
)

func openDTM(ctx context.Context, s *servers.Servers) (_ *contest.Entry, err error) {
	pool, err := s.DB.DB()
	if err != nil {
		return nil, err
	}
	if err := dtm.Barriers(ctx, pool); err != nil {
		return nil, err
	}
	service, err := dtm.Serve(map[string]dtm.Branch{
		branchDeliver: func(context.Context, *dtmcli.BranchBarrier, []byte) error { return nil },
		branchCheck: func(_ context.Context, b *dtmcli.BranchBarrier, _ []byte) error {
			return b.QueryPrepared(pool)
		},
	})
	if err != nil {
		return nil, err
	}
	server, err := dtm.Start(ctx, s)
	if err != nil {
		service.Stop()
		return nil, err
	}
	return &contest.Entry{
		Drive: measure.ClosedLoop(func(ctx context.Context) error {
			number := uuid.NewString()
			payload, err := dtm.Payload(json.RawMessage(orders.Body(number)))
			if err != nil {
				return err
			}
			m := dtmgrpc.NewMsgGrpc(server.Address, number).Add(dtm.URL(service.Address, branchDeliver), payload)
			return m.DoAndSubmitDB(dtm.URL(service.Address, branchCheck), pool, func(tx *sql.Tx) error {
				in := s.DB.Session(&gorm.Session{Context: ctx, NewDB: true, SkipDefaultTransaction: true})
				in.Statement.ConnPool = tx
				return orders.Insert(in, number)
			})
		}),
		Settle: func(context.Context) error {
			defer service.Stop()
			return server.Stop()
		},
	}, nil
}
