// Package peers compares a process with the others of its prefix while it runs: whether
// they have other databases, its name, or, as another installation, its task queue. People
// are told; nothing stops. Package worker runs it.
package peers

import (
	"context"
	"log/slog"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// every is how often the other processes are asked.
const every = 10 * time.Minute

// Options say who this process is among its peers.
type Options struct {
	Prefix, Group, Instance string
	// Temporal says that the process has Temporal: then other groups may not have its
	// task queue.
	Temporal bool
	// Databases compares what others say of theirs.
	Databases interface {
		Compare(answers []broker.ProcessStatus)
	}
	Logger *slog.Logger
	Alert  func(holdfast.Alert)
}

// peerBroker asks other processes.
type peerBroker interface {
	Ask(ctx context.Context, wait time.Duration) ([]broker.ProcessStatus, error)
	// Answers reports whether p is this very process.
	Answers(p broker.ProcessStatus) bool
	SameTaskQueue(ctx context.Context, group string) ([]broker.Installation, error)
}

// Peers compares this process with the others of its prefix.
type Peers struct {
	// LookAgain is when they are asked again after one with this one's name was found.
	// Change it before anything runs.
	LookAgain time.Duration

	o             Options
	namesake      namesake
	installations installations
}

// New returns what compares the process that o describes.
func New(o Options) *Peers { return &Peers{LookAgain: lookAgain, o: o} }

// Watch finds processes of this one's group, and of its consumers, that have another
// database, or this one's name, and installations with its task queue, until ctx is done.
func (p *Peers) Watch(ctx context.Context, b peerBroker) error {
	next := time.NewTimer(every)
	defer next.Stop()
	for {
		next.Reset(every)
		p.compareInstallations(ctx, b)
		if answers, err := b.Ask(ctx, 0); err == nil {
			p.o.Databases.Compare(answers)
			if p.compareNames(answers, b) {
				next.Reset(p.LookAgain)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
	}
}
