package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// competitor is one way of doing the work.
type competitor struct {
	name  string
	about string // what is measured, for the reader of the results
	// callers are the numbers of callers it is measured at; nil means those of
	// the flags, up to most if that is not 0.
	callers []int
	most    int
	// turns is how many measurements a round's seconds are divided into; 0 means
	// 1. Fast work is compared better in many short turns.
	turns int
	// rounds is in how many rounds it is measured at most; 0 means all.
	rounds int
	// series is what it is one of, where only size differs: bytes, queues, records.
	series string
	size   int
	// open prepares it on the servers. The context ends its preparation only.
	open func(ctx context.Context, s *servers) (*entry, error)
}

// entry is a competitor that is ready to be measured. It has either drive or run.
type entry struct {
	// prepare puts in place what one measurement uses up. Nil: nothing.
	prepare func(ctx context.Context) error
	// drive puts the load on, for as long as it is measured.
	drive driver
	// run is one measurement of work that ends by itself.
	run func(ctx context.Context, callers int) (figure, error)
	// settle waits for, or removes, what a measurement leaves behind, so that it
	// does not weigh on the next one, also after a failure. Nil: nothing.
	settle func(ctx context.Context) error
	// close ends it. Nil: nothing to do.
	close func()
}

// measurement is one figure with what it is about.
type measurement struct {
	Name    string `json:"name"`
	Callers int    `json:"callers"`
	Round   int    `json:"round"`
	Turn    int    `json:"turn"`
	Series  string `json:"series,omitempty"`
	Size    int    `json:"size,omitempty"`
	figure
}

const (
	openTimeout    = 5 * time.Minute // a program may have to be built
	prepareTimeout = 5 * time.Minute
	settleTimeout  = 2 * time.Minute
)

// plan is what is measured, and for how long.
type plan struct {
	only    []competitor
	seconds float64
	rounds  int
	callers []int
	profile string // a folder for CPU profiles; none if it is empty
}

// compete measures all in rounds. What could not be measured is in the error;
// the others are measured all the same.
func compete(ctx context.Context, s *servers, p plan, progress io.Writer) ([]measurement, error) {
	entries, err := openAll(ctx, s, p.only)
	defer func() {
		for _, e := range entries {
			if e.close != nil {
				e.close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	var out []measurement
	var errs []error
	for round := 1; round <= p.rounds; round++ {
		for _, slot := range slots(p, round) {
			m := measurement{Name: slot.competitor.name, Callers: slot.callers, Round: round, Turn: slot.turn,
				Series: slot.competitor.series, Size: slot.competitor.size}
			m.figure, err = measureOne(ctx, entries[m.Name], m, slot.seconds(p), p.profile)
			if ctx.Err() != nil {
				return out, errors.Join(errs...)
			}
			if err != nil {
				err = fmt.Errorf("%s at %d callers, round %d: %w", m.Name, m.Callers, m.Round, err)
				fmt.Fprintln(progress, err)
				errs = append(errs, err)
				continue
			}
			fmt.Fprintln(progress, m)
			out = append(out, m)
		}
	}
	return out, errors.Join(errs...)
}

func openAll(ctx context.Context, s *servers, cs []competitor) (map[string]*entry, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	entries := map[string]*entry{}
	for _, c := range cs {
		s.leaves(append(s.halfQueues(c.name), s.broker.ConsumerQueue(c.name), s.broker.ReplyQueue(c.name))...)
		e, err := c.open(ctx, s)
		if err != nil {
			return entries, fmt.Errorf("%s cannot be prepared: %w", c.name, err)
		}
		entries[c.name] = e
	}
	return entries, nil
}

// slot is one measurement of a round.
type slot struct {
	competitor competitor
	callers    int
	turn       int // from 1
}

// slots is the order of a round: those with the same number of callers are
// neighbours in time, and every other round runs backwards.
func slots(p plan, round int) []slot {
	var counts []int
	turns := 1
	only := slices.DeleteFunc(slices.Clone(p.only), func(c competitor) bool { return c.rounds > 0 && round > c.rounds })
	for _, c := range only {
		counts = append(counts, c.counts(p)...)
		turns = max(turns, c.turns)
	}
	slices.Sort(counts)
	var out []slot
	for _, n := range slices.Compact(counts) {
		for turn := 1; turn <= turns; turn++ {
			for _, c := range only {
				if turn <= max(1, c.turns) && slices.Contains(c.counts(p), n) {
					out = append(out, slot{c, n, turn})
				}
			}
		}
	}
	if round%2 == 0 {
		slices.Reverse(out)
	}
	return out
}

func (c competitor) counts(p plan) []int {
	if c.callers != nil {
		return c.callers
	}
	return slices.DeleteFunc(slices.Clone(p.callers), func(n int) bool { return c.most > 0 && n > c.most })
}

// seconds is how long the slot's measurement is.
func (s slot) seconds(p plan) time.Duration {
	return time.Duration(p.seconds / float64(max(1, s.competitor.turns)) * float64(time.Second))
}

func measureOne(ctx context.Context, e *entry, m measurement, window time.Duration, profiles string) (figure, error) {
	f, err := e.measure(ctx, m, window, profiles)
	if e.settle == nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	began := time.Now()
	if settleErr := e.settle(ctx); settleErr != nil {
		err = errors.Join(err, fmt.Errorf("cleaning up after it: %w", settleErr))
	}
	f.Settle = millis(time.Since(began))
	return f, err
}

// measure prepares and measures, and profiles the latter only.
func (e *entry) measure(ctx context.Context, m measurement, window time.Duration, profiles string) (figure, error) {
	if e.prepare != nil {
		ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
		defer cancel()
		if err := e.prepare(ctx); err != nil {
			return figure{}, fmt.Errorf("preparing it: %w", err)
		}
	}
	stop, err := profile(profiles, fmt.Sprintf("%s-%d-%d.%d.pprof", m.Name, m.Callers, m.Round, m.Turn))
	if err != nil {
		return figure{}, err
	}
	defer stop()
	if e.run != nil {
		return e.run(ctx, m.Callers)
	}
	return measure(ctx, e.drive, m.Callers, window)
}

// slowMost is the most callers of what has a workflow for each operation: more
// of them wait longer, and get no more done.
const slowMost = 64

// nameOf names the competitor of a size in a series.
func nameOf(series string, size int) string { return series + "-" + strconv.Itoa(size) }

// lazily opens an entry for each measurement anew and closes it after that, so
// that it does not weigh on the others.
func lazily(
	open func(ctx context.Context, s *servers) (*entry, error)) func(context.Context, *servers) (*entry, error) {
	return func(_ context.Context, s *servers) (*entry, error) {
		var e *entry
		end := func() {
			if e != nil && e.close != nil {
				e.close()
			}
			e = nil
		}
		return &entry{
			prepare: func(ctx context.Context) (err error) {
				if e, err = open(ctx, s); err != nil || e.prepare == nil {
					return err
				}
				return e.prepare(ctx)
			},
			drive: func(ctx context.Context, l *load) error { return e.drive(ctx, l) },
			settle: func(ctx context.Context) error {
				defer end()
				if e == nil || e.settle == nil {
					return nil
				}
				return e.settle(ctx)
			},
			close: end,
		}, nil
	}
}

// String is the line of progress about one measurement.
func (m measurement) String() string {
	s := fmt.Sprintf("round %d  %-22s %4d callers  %8s/s", m.Round, m.Name, m.Callers, digits(m.Rate))
	if m.P50 > 0 {
		s += fmt.Sprintf("  p50 %s ms  p99 %s ms", digits(m.P50), digits(m.P99))
	}
	if m.Growth != 0 {
		s += fmt.Sprintf("  memory grew by %s MB", digits(m.Growth))
	}
	if m.Peak != 0 {
		s += fmt.Sprintf("  %s s, memory %s MB", digits(m.Seconds), digits(m.Peak))
	}
	if m.Failed > 0 {
		s += fmt.Sprintf("  %d failed: %s", m.Failed, m.Failure)
	}
	return s
}
