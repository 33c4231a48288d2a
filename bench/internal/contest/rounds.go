package contest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

const (
	openTimeout    = 5 * time.Minute // a program may have to be built
	prepareTimeout = 5 * time.Minute
	// SettleTimeout is how long it may take to remove what a measurement left.
	SettleTimeout = 2 * time.Minute
)

// Plan says what is measured, how often and for how long.
type Plan struct {
	Only    []Competitor
	Seconds float64
	Rounds  int
	Callers []int
	Profile string // a folder for CPU profiles; empty: no profiles
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

// openAll opens the competitors, and notes the queues that they may make.
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

// seconds is how long the slot's measurement is.
func (s slot) seconds(p Plan) time.Duration {
	return time.Duration(p.Seconds / float64(max(1, s.competitor.Turns)) * float64(time.Second))
}

// measureOne measures, and settles what the measurement left.
func measureOne(ctx context.Context, e *Entry, m Measurement,
	window time.Duration, profiles string) (measure.Figure, error) {
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
func (e *Entry) measure(ctx context.Context, m Measurement,
	window time.Duration, profiles string) (measure.Figure, error) {
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
