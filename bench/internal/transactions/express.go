package transactions

import (
	"context"
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// Express is Holdfast's Express lane as an application uses it.
var Express = contest.Competitor{
	Name: "express",
	About: "worker.Send with Lane Express, a worker's defaults otherwise: " +
		"half message, local transaction with one insert and the outcome row, message, op record; " +
		"the same process runs the group's Keeper and a consumer (HandleAtLeastOnce, 16 at a time) that does nothing",
	Open: sender{name: "express", options: expressOptions, consume: true}.entry,
}

var expressOptions = worker.Options{Lane: holdfast.Express}

// The sizes of the bodies of the series "payload", and the numbers of half queues
// of the series "half-queues".
var (
	Payloads   = []int{100, 1 << 10, 16 << 10, 64 << 10, 256 << 10}
	HalfQueues = []int{1, 2, 4, 8}
)

// seriesCallers is the number of callers of a series whose size is something else.
var seriesCallers = []int{64}

// The series that show how the cost of a send grows.
const (
	PayloadExpress    = "payload-express"
	PayloadLimit      = "payload-limit"
	HalfQueuesExpress = "half-queues"
)

// Costs are their competitors.
func Costs() (out []contest.Competitor) {
	for _, size := range Payloads {
		express, limit := contest.NameOf(PayloadExpress, size), contest.NameOf(PayloadLimit, size)
		out = append(out,
			contest.Competitor{Name: express, Series: PayloadExpress, Size: size, Callers: seriesCallers,
				About: fmt.Sprintf("as express, with bodies of %d bytes", size),
				Open:  contest.Lazily(sender{name: express, options: expressOptions, body: size, consume: true}.entry)},
			contest.Competitor{Name: limit, Series: PayloadLimit, Size: size, Callers: seriesCallers,
				About: fmt.Sprintf("as limit, with bodies of %d bytes", size),
				Open: contest.Lazily(func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
					return openLimit(ctx, s, limit, size, orders.InsertAlone)
				})})
	}
	for _, n := range HalfQueues {
		name := contest.NameOf(HalfQueuesExpress, n)
		options := expressOptions
		options.Tuning.HalfQueues = n
		out = append(out, contest.Competitor{Name: name, Series: HalfQueuesExpress, Size: n, Callers: seriesCallers,
			About: fmt.Sprintf("as express, with HalfQueues %d: "+
				"as many half queues, and a Keeper for each in the same process", n),
			Open: contest.Lazily(sender{name: name, options: options, consume: true}.entry)})
	}
	return out
}
