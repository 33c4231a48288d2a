// Package keeper holds half messages until they are settled, and hands over those that are
// not. The core decides: it has no clock, no connection and no goroutine, and is tested by
// the scripts in testdata. A session carries out what it decides with one subscription to
// a half queue. Broker runs Keepers through Keep and KeepGroup, and is their Host.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Options say which half queue is kept and who takes over what stays
// undecided. The zero value of every field but Group and HandOver means its
// default.
type Options struct {
	// Group is the producer group whose half queue it is. Required.
	Group string
	// Queue is the number of the half queue, from 1. Default 1. One beyond
	// Options.HalfQueues is not made where it does not exist. KeepGroup sets it.
	Queue int
	// Window is how many records are held unacknowledged at most. Default
	// 2000, 10 to 65,535. When halves that nobody settles fill 90 % of it, the
	// oldest are handed over before their time.
	Window int
	// HeldBytes limits the bytes of records that are held in memory. Default 64 MiB,
	// at least 4 MiB. Of further ones only the transaction is held: they come from
	// RabbitMQ again when they are handed over. A quarter as much is for op records
	// whose half messages have not come; the oldest are forgotten first. KeepGroup
	// divides it among the half queues.
	HeldBytes int
	// CheckAfter is the age, as seen by this Keeper, at which a half that no op
	// record settled is handed over. Default 10 s.
	CheckAfter time.Duration
	// HandOver takes halves over: it returns one error for each, nil where the
	// half will be brought to its end whatever dies from now on. What it did
	// not take over it gets again, after a growing pause of 1 to 30 s. The same
	// half may come more than once, also after nil. Up to four calls run at a
	// time; ctx is done when Keep is to end. Required.
	HandOver func(ctx context.Context, halves []holdfast.Half) []error
	// Unable, if not nil, says why HandOver cannot succeed in this process, empty
	// while it can. Doctor shows it, and another process's Keeper gives its place to
	// one that is able: see [ErrYield]. It must return quickly.
	Unable func() string
	// SweepMax is the number of halves of one HandOver at most. Default 200.
	SweepMax int
	// SweepBytes limits the records' bytes of one HandOver, unless a single
	// half has more. Default 512 KiB.
	SweepBytes int
	// Stats, if not nil, is called with the current numbers when they changed.
	// It runs in the Keeper's own goroutine: it must return quickly. With KeepGroup
	// each half queue has a Keeper, and they call it at the same time.
	Stats func(Stats)
}

// Stats are a Keeper's numbers. The counts begin at 0 with Keep; a record
// that comes again after a lost connection counts again.
type Stats struct {
	// Queue is the half queue's number, from 1.
	Queue int
	// Subscribed says that the Keeper listens to the half queue. Of several
	// only one gets records.
	Subscribed bool
	// Subscriptions counts how often it subscribed: the first time, and after
	// each loss.
	Subscriptions uint64
	// Held is the number of records held, HandingOver the part of them whose
	// halves are being handed over.
	Held, HandingOver int
	// Undecided is the number of half messages among them, and Oldest when the
	// Keeper first saw the oldest of those, the zero time if there is none.
	Undecided int
	Oldest    time.Time
	// HeldBytes is the length of the records whose bodies are in memory.
	HeldBytes int
	// FailingSince is since when no hand-over has succeeded, although some were
	// tried, LastError why the last one failed; both are zero where hand-overs
	// succeed, or nothing is undecided.
	FailingSince time.Time
	LastError    string
	wire.KeeperCounts
}

const (
	keeperSweeps = 4
	minHeldBytes = 4 << 20
	// ackSettle is how long the channel stays open after the last acknowledgements:
	// RabbitMQ forgets those that the queue has not taken when their channel closes.
	ackSettle = 50 * time.Millisecond
	// sweepJoin is how soon after another a half that comes due is handed over with
	// it, where that is not more than a twentieth of CheckAfter.
	sweepJoin = 100 * time.Millisecond
	// recallAfter is how long a record that was given back, to come again, is waited
	// for: RabbitMQ sends it at once, unless somebody purges the queue just then.
	recallAfter = time.Minute
	// failLogPause is how often a new reason is logged why hand-overs fail, and
	// sameFailLogPause the same one.
	failLogPause     = 10 * time.Second
	sameFailLogPause = 10 * time.Minute
	// atOnce is how many records a Keeper takes in before it looks at the clock.
	atOnce = 64
)

func (o Options) withDefaults() Options {
	if o.Queue == 0 {
		o.Queue = 1
	}
	if o.Window == 0 {
		o.Window = 2000
	}
	if o.HeldBytes == 0 {
		o.HeldBytes = 64 << 20
	}
	if o.CheckAfter == 0 {
		o.CheckAfter = 10 * time.Second
	}
	if o.SweepMax == 0 {
		o.SweepMax = 200
	}
	if o.SweepBytes == 0 {
		o.SweepBytes = 512 << 10
	}
	return o
}

func (o Options) validate() error {
	if err := wire.ValidGroup(o.Group); err != nil {
		return err
	}
	switch {
	case o.HandOver == nil:
		return fmt.Errorf("%w: KeeperOptions.HandOver is nil", holdfast.ErrInvalid)
	case o.Window < 10 || o.Window > 65_535:
		return fmt.Errorf("%w: KeeperOptions.Window is %d: want 10 to 65535", holdfast.ErrInvalid, o.Window)
	case o.Queue < 1 || o.Queue > wire.MaxHalfQueues:
		return fmt.Errorf("%w: KeeperOptions.Queue is %d: want 1 to %d", holdfast.ErrInvalid, o.Queue,
			wire.MaxHalfQueues)
	case o.HeldBytes < minHeldBytes:
		return fmt.Errorf("%w: KeeperOptions.HeldBytes is %d: want at least %d", holdfast.ErrInvalid, o.HeldBytes,
			minHeldBytes)
	case o.CheckAfter < 0 || o.SweepMax < 0 || o.SweepBytes < 0:
		return fmt.Errorf("%w: KeeperOptions: CheckAfter, SweepMax and SweepBytes must not be negative",
			holdfast.ErrInvalid)
	}
	return nil
}

// Keep runs a Keeper for one half queue until ctx is done. For a half queue beyond
// Options.HalfQueues it also returns nil once that does not exist (any more).
func Keep(ctx context.Context, h Host, o Options) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	queue := wire.HalfQueue(h.Client.Prefix, o.Group, o.Queue)
	k := &keeper{Host: h, o: o, queue: queue, peeks: make(chan peeking), able: make(chan struct{}, 1)}
	k.log = h.Client.Log.With("group", o.Group, "queue", k.queue)
	k.stats.Queue = o.Queue
	defer h.Listen(k.able)()
	defer h.Show(k.status)()
	defer k.handing.Wait()
	err := h.Client.Subs.Resubscribe(ctx, k.log, k.queue, o.Window, k.declare, k.session)
	if errors.Is(err, errQueueGone) {
		return nil
	}
	return err
}

// declare makes the group's half queues, or sees that the one beyond them exists.
func (k *keeper) declare(ctx context.Context) error {
	if k.o.Queue <= k.Client.Halves {
		return k.DeclareGroup(ctx, k.o.Group)
	}
	there, err := k.Client.QueueExists(ctx, k.queue)
	if err == nil && !there {
		return errQueueGone
	}
	return err
}

// Host is the process that Keepers run in, as far as they need it.
type Host struct {
	Client *link.Client
	// DeclareGroup makes the half queues of a producer group.
	DeclareGroup func(ctx context.Context, group string) error
	// Losses counts how often a queue was found missing.
	Losses func(queue string) uint64
	// Show lets answers to status requests tell of a Keeper until hide is called.
	Show func(status func(wire.StatusRequest) wire.KeeperStatus) (hide func())
	// Listen has able get a token whenever a process says that it hands over; SayAble
	// says so of this one.
	Listen  func(able chan struct{}) (forget func())
	SayAble func(ctx context.Context)
	// LookForQueues is how often KeepGroup looks whether processes with more half queues
	// have made some. Zero means a minute.
	LookForQueues time.Duration
}

// errQueueGone means that a half queue beyond Options.HalfQueues does not exist.
var errQueueGone = link.Final("the half queue does not exist")

type keeper struct {
	Host
	o     Options
	queue string
	log   *slog.Logger

	stats, told  Stats
	failLogged   time.Time
	failText     string // what was logged then
	ignoreLogged time.Time
	handing      sync.WaitGroup
	peeks        chan peeking  // questions to the session
	able         chan struct{} // a token: another process can hand over
	left         leftHalves    // of the last session

	mu    sync.Mutex
	shown keeperView
}

// handedOver is the result of one hand-over, or of one malformed record (tag).
type handedOver struct {
	sweep []*heldHalf
	errs  []error
	tag   uint64
}

// ErrYield is what HandOver returns where another process of the group can hand
// over, and this one cannot: the Keeper gives its place to the next one in line, and
// queues up behind. Nothing is lost: what it held is delivered to the next one.
var ErrYield = errors.New("another process of the group hands over")

// errBuried is the result of the hand-over of a half message that turned out to be
// malformed, and is with the dead letters now.
var errBuried = errors.New("malformed")

// keeperView is what others may see of a Keeper.
type keeperView struct {
	stats  Stats
	active bool
}

// show lets others see how the Keeper is, and calls Stats.
func (k *keeper) show(core *keeperCore, active bool) {
	s := &k.stats
	s.Held, s.HandingOver, s.Undecided = core.tags, core.handing, core.undecided()
	s.HeldBytes, s.Oldest = core.bytes, core.oldest()
	if s.Undecided == 0 {
		s.FailingSince, s.LastError = time.Time{}, ""
	}
	k.mu.Lock()
	k.shown = keeperView{*s, active}
	k.mu.Unlock()
	if k.o.Stats != nil && *s != k.told {
		k.told = *s
		k.o.Stats(*s)
	}
}

// status is how the Keeper was when it last did something.
func (k *keeper) status(want wire.StatusRequest) wire.KeeperStatus {
	k.mu.Lock()
	v, active := k.shown.stats, k.shown.active
	k.mu.Unlock()
	s := wire.KeeperStatus{Group: k.o.Group, Queue: k.o.Queue, Active: active, Subscribed: v.Subscribed,
		Held: v.Held, HandingOver: v.HandingOver, Undecided: v.Undecided, CheckAfter: k.o.CheckAfter,
		KeeperCounts: v.KeeperCounts,
		FailingSince: v.FailingSince, LastError: v.LastError}
	if k.o.Unable != nil {
		s.Unable = k.o.Unable()
	}
	if !v.Oldest.IsZero() {
		s.OldestAge = time.Since(v.Oldest)
	}
	if want.N > 0 && want.Group == k.o.Group && v.Subscribed {
		s.Oldest = k.peek(want.N)
	}
	return s
}
