package actions

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
)

// LookUp finds each of ids, and keeps one of those that are the same.
func LookUp[R any](ctx context.Context, parallel int, ids []string, find func(context.Context, string) (R, error),
	id func(R) string) ([]R, error) {
	found := make([]R, len(ids))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(parallel)
	for i, name := range ids {
		all.Go(func() (err error) {
			found[i], err = find(ctx, name)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	rows := []R{}
	seen := map[string]bool{}
	for _, r := range found {
		if !seen[id(r)] {
			seen[id(r)] = true
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// Oldest returns the first of rows by their start, most of them at most; 0: all.
func Oldest[R any](rows []R, most int, started func(R) time.Time) []R {
	slices.SortStableFunc(rows, func(x, y R) int { return started(x).Compare(started(y)) })
	if most > 0 && len(rows) > most {
		return rows[:most]
	}
	return rows
}

// First gathers the first rows that each visits, limit at most; more says that there are
// others. size is how many each should ask for at once.
func First[R any](limit int, each func(size int, visit func(R) bool) error) (rows []R, more bool, err error) {
	rows = []R{}
	err = each(min(max(limit+1, 10), server.PageLimit), func(r R) bool {
		if more = len(rows) == limit; !more {
			rows = append(rows, r)
		}
		return !more
	})
	return rows, more, err
}
