package main

import (
	"context"
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// express is Holdfast's Express lane as an application uses it.
var express = competitor{
	name: "express",
	about: "worker.Send with Lane Express, a worker's defaults otherwise: " +
		"half message, local transaction with one insert and the outcome row, message, op record; " +
		"the same process runs the group's Keeper and a consumer (HandleAtLeastOnce, 16 at a time) that does nothing",
	open: sender{name: "express", options: expressOptions, consume: true}.entry,
}

var expressOptions = worker.Options{Lane: holdfast.Express}

// The sizes of the bodies of the series "payload", and the numbers of half queues
// of the series "half-queues".
var (
	payloads   = []int{100, 1 << 10, 16 << 10, 64 << 10, 256 << 10}
	halfQueues = []int{1, 2, 4, 8}
)

// seriesCallers is the number of callers of a series whose size is something else.
var seriesCallers = []int{64}

// The series that show how the cost of a send grows.
const (
	payloadExpress = "payload-express"
	payloadLimit   = "payload-limit"
	queuesExpress  = "half-queues"
)

// costs are their competitors.
func costs() (out []competitor) {
	for _, size := range payloads {
		express, limit := nameOf(payloadExpress, size), nameOf(payloadLimit, size)
		out = append(out,
			competitor{name: express, series: payloadExpress, size: size, callers: seriesCallers,
				about: fmt.Sprintf("as express, with bodies of %d bytes", size),
				open:  lazily(sender{name: express, options: expressOptions, body: size, consume: true}.entry)},
			competitor{name: limit, series: payloadLimit, size: size, callers: seriesCallers,
				about: fmt.Sprintf("as limit, with bodies of %d bytes", size),
				open: lazily(func(ctx context.Context, s *servers) (*entry, error) {
					return openLimit(ctx, s, limit, size, insertAlone)
				})})
	}
	for _, n := range halfQueues {
		name := nameOf(queuesExpress, n)
		options := expressOptions
		options.HalfQueues = n
		out = append(out, competitor{name: name, series: queuesExpress, size: n, callers: seriesCallers,
			about: fmt.Sprintf("as express, with HalfQueues %d: "+
				"as many half queues, and a Keeper for each in the same process", n),
			open: lazily(sender{name: name, options: options, consume: true}.entry)})
	}
	return out
}
