package contest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Competitor is one way of doing the work.
type Competitor struct {
	Name  string
	About string // what is measured, for the reader of the results
	// callers are the numbers of callers it is measured at; nil means those of
	// the flags, up to most if that is not 0.
	Callers []int
	Most    int
	// turns is how many measurements a round's seconds are divided into; 0 means
	// 1. Fast work is compared better in many short turns.
	Turns int
	// rounds is in how many rounds it is measured at most; 0 means all.
	Rounds int
	// series is what it is one of, where only size differs: bytes, queues, records.
	Series string
	Size   int
	// open prepares it on the servers. The context ends its preparation only.
	Open func(ctx context.Context, s *servers.Servers) (*Entry, error)
}

// Entry is a competitor that is ready to be measured. It has either drive or run.
type Entry struct {
	// prepare puts in place what one measurement uses up. Nil: nothing.
	Prepare func(ctx context.Context) error
	// drive puts the load on, for as long as it is measured.
	Drive measure.Driver
	// run is one measurement of work that ends by itself.
	Run func(ctx context.Context, callers int) (measure.Figure, error)
	// settle waits for, or removes, what a measurement leaves behind, so that it
	// does not weigh on the next one, also after a failure. Nil: nothing.
	Settle func(ctx context.Context) error
	// close ends it. Nil: nothing to do.
	Close func()
}

// Measurement is one figure with what it is about.
type Measurement struct {
	Name    string `json:"name"`
	Callers int    `json:"callers"`
	Round   int    `json:"round"`
	Turn    int    `json:"turn"`
	Series  string `json:"series,omitempty"`
	Size    int    `json:"size,omitempty"`
	measure.Figure
}

const (
	openTimeout    = 5 * time.Minute // a program may have to be built
	prepareTimeout = 5 * time.Minute
	SettleTimeout  = 2 * time.Minute
)

// Plan is what is measured, and for how long.
type Plan struct {
	Only    []Competitor
	Seconds float64
	Rounds  int
	Callers []int
	Profile string // a folder for CPU profiles; none if it is empty
}

// Run measures all in rounds. What could not be measured is in the error;
// the others are measured all the same.
func Run(ctx context.Context, s *servers.Servers, p Plan, progress io.Writer) ([]Measurement, error) {
	entries, err := openAll(ctx, s, p.Only)
	defer func() {
		for _, e := range entries {
			if e.Close != nil {
				e.Close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	var out []Measurement
	var errs []error
	for round := 1; round <= p.Rounds; round++ {
		for _, slot := range slots(p, round) {
			m := Measurement{Name: slot.competitor.Name, Callers: slot.callers, Round: round, Turn: slot.turn,
				Series: slot.competitor.Series, Size: slot.competitor.Size}
			m.Figure, err = measureOne(ctx, entries[m.Name], m, slot.seconds(p), p.Profile)
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

func openAll(ctx context.Context, s *servers.Servers, cs []Competitor) (map[string]*Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	entries := map[string]*Entry{}
	for _, c := range cs {
		s.DeleteAtEnd(append(s.HalfQueues(c.Name), s.Broker.ConsumerQueue(c.Name), s.Broker.ReplyQueue(c.Name))...)
		e, err := c.Open(ctx, s)
		if err != nil {
			return entries, fmt.Errorf("%s cannot be prepared: %w", c.Name, err)
		}
		entries[c.Name] = e
	}
	return entries, nil
}

// slot is one measurement of a round.
type slot struct {
	competitor Competitor
	callers    int
	turn       int // from 1
}

// slots is the order of a round: those with the same number of callers are
// neighbours in time, and every other round runs backwards.
func slots(p Plan, round int) []slot {
	var counts []int
	turns := 1
	only := slices.DeleteFunc(slices.Clone(p.Only), func(c Competitor) bool { return c.Rounds > 0 && round > c.Rounds })
	for _, c := range only {
		counts = append(counts, c.Counts(p)...)
		turns = max(turns, c.Turns)
	}
	slices.Sort(counts)
	var out []slot
	for _, n := range slices.Compact(counts) {
		for turn := 1; turn <= turns; turn++ {
			for _, c := range only {
				if turn <= max(1, c.Turns) && slices.Contains(c.Counts(p), n) {
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

func (c Competitor) Counts(p Plan) []int {
	if c.Callers != nil {
		return c.Callers
	}
	return slices.DeleteFunc(slices.Clone(p.Callers), func(n int) bool { return c.Most > 0 && n > c.Most })
}

// seconds is how long the slot's measurement is.
func (s slot) seconds(p Plan) time.Duration {
	return time.Duration(p.Seconds / float64(max(1, s.competitor.Turns)) * float64(time.Second))
}

func measureOne(ctx context.Context, e *Entry, m Measurement, window time.Duration, profiles string) (measure.Figure, error) {
	f, err := e.measure(ctx, m, window, profiles)
	if e.Settle == nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, SettleTimeout)
	defer cancel()
	began := time.Now()
	if settleErr := e.Settle(ctx); settleErr != nil {
		err = errors.Join(err, fmt.Errorf("cleaning up after it: %w", settleErr))
	}
	f.Settle = measure.Millis(time.Since(began))
	return f, err
}

// measure prepares and measures, and profiles the latter only.
func (e *Entry) measure(ctx context.Context, m Measurement, window time.Duration, profiles string) (measure.Figure, error) {
	if e.Prepare != nil {
		ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
		defer cancel()
		if err := e.Prepare(ctx); err != nil {
			return measure.Figure{}, fmt.Errorf("preparing it: %w", err)
		}
	}
	stop, err := measure.Profile(profiles, fmt.Sprintf("%s-%d-%d.%d.pprof", m.Name, m.Callers, m.Round, m.Turn))
	if err != nil {
		return measure.Figure{}, err
	}
	defer stop()
	if e.Run != nil {
		return e.Run(ctx, m.Callers)
	}
	return measure.Window(ctx, e.Drive, m.Callers, window)
}

// SlowMost is the most callers of what has a workflow for each operation: more
// of them wait longer, and get no more done.
const SlowMost = 64

// NameOf names the competitor of a size in a series.
func NameOf(series string, size int) string { return series + "-" + strconv.Itoa(size) }

// Lazily opens an entry for each measurement anew and closes it after that, so
// that it does not weigh on the others.
func Lazily(
	open func(ctx context.Context, s *servers.Servers) (*Entry, error)) func(context.Context, *servers.Servers) (*Entry, error) {
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

// String is the line of progress about one measurement.
func (m Measurement) String() string {
	s := fmt.Sprintf("round %d  %-22s %4d callers  %8s/s", m.Round, m.Name, m.Callers, measure.Digits(m.Rate))
	if m.P50 > 0 {
		s += fmt.Sprintf("  p50 %s ms  p99 %s ms", measure.Digits(m.P50), measure.Digits(m.P99))
	}
	if m.Growth != 0 {
		s += fmt.Sprintf("  memory grew by %s MB", measure.Digits(m.Growth))
	}
	if m.Peak != 0 {
		s += fmt.Sprintf("  %s s, memory %s MB", measure.Digits(m.Seconds), measure.Digits(m.Peak))
	}
	if m.Failed > 0 {
		s += fmt.Sprintf("  %d failed: %s", m.Failed, m.Failure)
	}
	return s
}
