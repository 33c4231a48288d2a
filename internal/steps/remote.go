package steps

import (
	"context"
	"errors"
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
)

// checkRemotely asks the group's processes, in another language, over RabbitMQ.
func (s *Steps) checkRemotely(ctx context.Context, group string, txs []activities.Tx) []activities.LocalResult {
	asked := make([]broker.CheckTx, len(txs))
	for i, tx := range txs {
		asked[i] = broker.CheckTx{ID: tx.ID, Messages: tx.Messages, Database: tx.Database}
	}
	out := make([]activities.LocalResult, len(txs))
	for i, a := range s.Remote.CheckRemotely(ctx, group, asked) {
		out[i] = activities.LocalResult{ID: txs[i].ID, Resolution: a.Resolution, Messages: a.Messages}
		if a.Err != nil {
			out[i].Error, out[i].Unreached = a.Err.Error(), errors.Is(a.Err, broker.ErrUnreached)
		}
	}
	return out
}

// decideRemotely lets an operator's resolution stand if the group's processes say
// the same, or, with force, if they cannot say. Nobody here can make it a fact in
// their database; but being asked makes them roll back what is not committed.
func (s *Steps) decideRemotely(ctx context.Context, group string, tx activities.Tx, r holdfast.Resolution,
	force bool) (activities.LocalResult, error) {
	known := s.checkRemotely(ctx, group, []activities.Tx{tx})[0]
	switch {
	case known.Resolution == r:
		return known, nil
	case known.Resolution != holdfast.Unknown:
		return known, fmt.Errorf("%w: the processes of group %s say %s", holdfast.ErrAlreadyResolved, group, known.Resolution)
	case !force:
		return known, fmt.Errorf("the processes of group %s cannot say: %s; mend that, or use force to decide without",
			group, known.Error)
	}
	return activities.LocalResult{ID: tx.ID, Resolution: r}, nil
}
