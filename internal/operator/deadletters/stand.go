package deadletters

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Stand asks where dead letters stand, many at once. Of each it returns its row and, unless
// Unknown says why not, its Status; not its message.
func Stand(ctx context.Context, t *server.Temporal, rows []Row) []Detail {
	all := make([]Detail, len(rows))
	var group errgroup.Group
	group.SetLimit(server.ResultsAtOnce)
	for i, r := range rows {
		group.Go(func() error {
			all[i] = stand(ctx, t, r)
			return nil
		})
	}
	_ = group.Wait() // each says what is unknown of it
	return all
}

func stand(ctx context.Context, t *server.Temporal, r Row) Detail {
	d := Detail{Row: r, say: t.Suggester}
	d.stands(ctx, t)
	return d
}

// Now is the dead letter of a workflow, as Stand tells it, in its latest run.
func Now(ctx context.Context, t *server.Temporal, workflowID string) (Detail, error) {
	found, err := describeDead(ctx, t, []string{workflowID})
	if err != nil {
		return Detail{}, err
	}
	if len(found) == 0 {
		return Detail{}, text.NoSuch("dead letter", workflowID)
	}
	return stand(ctx, t, found[0]), nil
}
