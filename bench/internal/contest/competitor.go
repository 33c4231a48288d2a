// Package contest says what a competitor is, and measures the competitors of a plan
// in rounds, one after the other. The rooms of the competitors fill in what is
// measured. It imports measure and servers only.
package contest

import (
	"context"
	"slices"
	"strconv"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Competitor is one way of doing the work.
type Competitor struct {
	Name  string
	About string // what is measured, for the reader of the results
	// Callers are the numbers of callers it is measured at; nil means those of
	// the plan, up to Most if that is not 0.
	Callers []int
	Most    int
	// Turns is how many measurements a round's seconds are divided into; 0 means
	// 1. Fast work is compared better in many short turns.
	Turns int
	// Rounds is in how many rounds it is measured at most; 0 means all.
	Rounds int
	// Series is what it is one of, where only Size differs: bytes, queues, records.
	Series string
	Size   int
	// Open prepares it on the servers. The context ends its preparation only.
	Open Opener
}

// Opener makes an entry of a competitor on the servers.
type Opener func(ctx context.Context, s *servers.Servers) (*Entry, error)

// Counts are the numbers of callers that c is measured at by a plan.
func (c Competitor) Counts(p Plan) []int {
	if c.Callers != nil {
		return c.Callers
	}
	return slices.DeleteFunc(slices.Clone(p.Callers), func(n int) bool { return c.Most > 0 && n > c.Most })
}

// Entry is a competitor that is ready to be measured. It has either Drive or Run.
type Entry struct {
	// Prepare puts in place what one measurement uses up. Nil: nothing.
	Prepare func(ctx context.Context) error
	// Drive puts the load on, for as long as it is measured.
	Drive measure.Driver
	// Run is one measurement of work that ends by itself.
	Run func(ctx context.Context, callers int) (measure.Figure, error)
	// Settle waits for, or removes, what a measurement leaves behind, so that it
	// does not weigh on the next one, also after a failure. Nil: nothing.
	Settle func(ctx context.Context) error
	// Close ends it. Nil: nothing to do.
	Close func()
}

// SlowMost is the most callers of what has a workflow for each operation: more
// of them wait longer, and get no more done.
const SlowMost = 64

// NameOf is the name of the competitor of a size in a series.
func NameOf(series string, size int) string { return series + "-" + strconv.Itoa(size) }

// Lazily opens an entry for each measurement anew and closes it after that, so
// that it does not weigh on the others.
func Lazily(open Opener) Opener {
	return func(_ context.Context, s *servers.Servers) (*Entry, error) {
		var e *Entry
		end := func() {
			if e != nil && e.Close != nil {
				e.Close()
			}
			e = nil
		}
		return &Entry{
			Prepare: func(ctx context.Context) (err error) {
				if e, err = open(ctx, s); err != nil || e.Prepare == nil {
					return err
				}
				return e.Prepare(ctx)
			},
			Drive: func(ctx context.Context, l *measure.Load) error { return e.Drive(ctx, l) },
			Settle: func(ctx context.Context) error {
				defer end()
				if e == nil || e.Settle == nil {
					return nil
				}
				return e.Settle(ctx)
			},
			Close: end,
		}, nil
	}
}
