package sagas

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// mostLeft is the part of the sagas of the Express lane that may go on in a workflow.
// With more of them it would not be that lane that is measured.
const mostLeft = 0.01

// inExpress adds to an entry of a group what has to be so in the Express lane: after a
// measurement every half record is settled and forgotten, and hardly a saga went on in
// a workflow.
func inExpress(s *servers.Servers, e *contest.Entry, group string, b *books) {
	prepare, settle := e.Prepare, e.Settle
	queue := workflows.TaskQueue(s.Prefix, group)
	var before int64 // workflows of earlier measurements
	e.Prepare = func(ctx context.Context) (err error) {
		if before, err = s.CountStarted(ctx, sagas.Name, queue); err != nil {
			return err
		}
		return prepare(ctx)
	}
	e.Settle = func(ctx context.Context) error {
		kept := s.AwaitSettled(ctx, group) // what the Keeper hands over has a workflow then
		return errors.Join(kept, settle(ctx), func() error {
			now, err := s.CountStarted(ctx, sagas.Name, queue)
			if left, tried := now-before, b.tried.Load(); err == nil && float64(left) > mostLeft*float64(tried) {
				err = fmt.Errorf("%d of %d sagas went on in a workflow", left, tried)
			}
			return err
		}())
	}
}
