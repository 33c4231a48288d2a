package worker

import (
	"errors"
	"fmt"
	"os"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// Timeouts are limits of time in a worker. The zero value of each field means its default;
// a negative one is refused but for Consumer.
type Timeouts struct {
	// Send bounds Send, Start, Begin, Commit and Rollback where the
	// caller's context has no deadline. Default: 30 s.
	Send time.Duration
	// Start is how long Run waits for RabbitMQ, PostgreSQL and Temporal to
	// be there. Default: 1 m.
	Start time.Duration
	// Drain is how long Run, once its context is done, lets handlers and
	// senders come to their end; what runs for Temporal, the last alerts and the
	// connections take up to 16 s more. Default: 12 s, so that all is over within
	// the 30 s that Kubernetes gives.
	Drain time.Duration
	// Local bounds a local transaction. Default: 5 m.
	Local time.Duration
	// Reach is how long the process that holds a closure is waited for,
	// when the workflow runs in another one, before it counts as gone. Default:
	// 5 s.
	Reach time.Duration
	// Lock is how long a check-back waits for a local transaction that is
	// still open, before it answers Unknown. Default: 2 s.
	Lock time.Duration
	// Task is how long Temporal waits for a process before it gives its
	// workflow task to another: the delay after a crash. Default: 10 s; at most
	// 2 m.
	Task time.Duration
	// Consumer is RabbitMQ's consumer_timeout where its server was told another
	// one than 30 m, which RabbitMQ does not tell: consumers whose Timeout, times Tries, is
	// longer are warned of when Run begins, and by doctor. Default: HOLDFAST_CONSUMER_TIMEOUT,
	// or 30 m; negative: there is none.
	Consumer time.Duration
}

// Tuning are numbers and sizes in a worker. The zero value of each field means its
// default.
type Tuning struct {
	// MaxBody limits the bodies of one transaction's messages together, in
	// bytes. Default and maximum: 1 MiB.
	MaxBody int
	// MaxCohort is how many transactions of the Traced lane share one workflow at
	// most, under load; 1 gives each its own. Default: 64, at most 200.
	MaxCohort int
	// MaxSagaCohort is how many sagas of the Traced lane share one workflow at most, under load;
	// 1 gives each its own. Processes of a group may differ in it. With RollingUpgrade and without
	// DB, each has its own. Unless it is set, so has a saga without a local step; where it is set,
	// all processes that have such a saga need it, and DB: see docs/sagas.md. Default: 48, at most
	// 200.
	MaxSagaCohort int
	// MaxSagas is how many sagas a process runs itself at a time, in the Express lane and in the
	// workflows that they share; those that gather for the next such workflow count. A further
	// StartSaga waits, as long as its caller does. What runs in a workflow of its own does not
	// count. Both lanes share these places: a step that starts another such saga, and waits for
	// it, holds its saga's place while it asks for one more. Default: 1000, at most 100,000.
	MaxSagas int
	// CohortsInFlight is how many workflows are being started and recorded at a
	// time before transactions gather to share the next one. Default: 2.
	CohortsInFlight int
	// HalfQueues is how many half queues the group has; transactions are spread
	// over them by the hash of their ID. Default: 1, at most 16. See
	// docs/operating.md for how to change it.
	HalfQueues int
	// HalfBatch is how many half messages share one record in the half queue at most: those of a cohort, and
	// in the Express lane those that come while earlier ones are being confirmed. 1 gives each its
	// own, and so does RollingUpgrade. Default: 48, at most 64.
	HalfBatch int
	// KeeperWindow is how many records of the half queue the Keeper holds at
	// most, 10 to 65535. Default: 2000. It should be more than the transactions that
	// all processes of the group have open at a time: where they fill 90 % of it, the
	// oldest are handed over early, and rolled back if they have not begun.
	KeeperWindow int
	// WorkflowCache is how many open workflows stay in memory, about 40 KB each and
	// the bodies of their messages; the others are read again when something happens to
	// them. Temporal's SDK has one cache for all workers of a process: the first one that
	// is made decides. Default: 1000; negative: whatever the process has set.
	WorkflowCache int
}

func (t *Timeouts) setDefaults() {
	setDefault(&t.Send, 30*time.Second)
	setDefault(&t.Start, time.Minute)
	setDefault(&t.Drain, 12*time.Second)
	setDefault(&t.Local, 5*time.Minute)
	setDefault(&t.Reach, 5*time.Second)
	setDefault(&t.Lock, 2*time.Second)
	setDefault(&t.Task, 10*time.Second)
	if d, err := time.ParseDuration(os.Getenv("HOLDFAST_CONSUMER_TIMEOUT")); err == nil {
		setDefault(&t.Consumer, d)
	}
}

func (t Timeouts) validate() error {
	errs := []error{notNegative("Timeouts.Send", t.Send), notNegative("Timeouts.Start", t.Start),
		notNegative("Timeouts.Drain", t.Drain), notNegative("Timeouts.Local", t.Local),
		notNegative("Timeouts.Reach", t.Reach), notNegative("Timeouts.Lock", t.Lock),
		notNegative("Timeouts.Task", t.Task)}
	if t.Task > 2*time.Minute {
		errs = append(errs, fmt.Errorf("%w: Timeouts.Task %v: Temporal allows at most 2m", holdfast.ErrInvalid, t.Task))
	}
	return errors.Join(errs...)
}

func notNegative(name string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%w: %s %v: want more than 0", holdfast.ErrInvalid, name, d)
	}
	return nil
}

func (t *Tuning) setDefaults() {
	setDefault(&t.MaxBody, holdfast.MaxBody)
	setDefault(&t.MaxCohort, 64)
	setDefault(&t.HalfBatch, 48)
	setDefault(&t.MaxSagaCohort, 48)
	setDefault(&t.MaxSagas, 1000)
	setDefault(&t.CohortsInFlight, 2)
	setDefault(&t.HalfQueues, 1)
	setDefault(&t.KeeperWindow, 2000)
	setDefault(&t.WorkflowCache, 1000)
}

func (t Tuning) validate() error {
	var errs []error
	if t.MaxBody < 0 || t.MaxBody > holdfast.MaxBody {
		errs = append(errs, fmt.Errorf("%w: Tuning.MaxBody %d: want at most %d, since a Temporal payload is limited",
			holdfast.ErrInvalid, t.MaxBody, holdfast.MaxBody))
	}
	for _, n := range []struct {
		name           string
		v, least, most int
	}{{"MaxCohort", t.MaxCohort, 1, 200}, {"HalfBatch", t.HalfBatch, 1, 64}, {"MaxSagaCohort", t.MaxSagaCohort, 1, 200},
		{"MaxSagas", t.MaxSagas, 1, 100_000}, {"CohortsInFlight", t.CohortsInFlight, 1, 100},
		{"HalfQueues", t.HalfQueues, 1, 16}, {"KeeperWindow", t.KeeperWindow, 10, 65_535}} {
		if n.v < n.least || n.v > n.most {
			errs = append(errs, fmt.Errorf("%w: Tuning.%s %d: want %d to %d", holdfast.ErrInvalid, n.name, n.v, n.least, n.most))
		}
	}
	return errors.Join(errs...)
}
