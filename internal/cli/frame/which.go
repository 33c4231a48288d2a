package frame

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Which are the flags that every noun has to say which are meant.
type Which struct {
	Ages
	States []string
	Limit  int // how many at most
}

// Register adds the flags; began says what began, such as "came".
func (w *Which) Register(flags *pflag.FlagSet, began string, limit int, limitHelp, stateHelp string) {
	flags.StringSliceVar(&w.States, "state", nil, stateHelp)
	w.Ages.Register(flags, began)
	flags.IntVar(&w.Limit, "limit", limit, limitHelp)
}

// Given reports whether one of the flags but the limit is given.
func (w *Which) Given() bool { return len(w.States) > 0 || w.Ages.Given() }

// CheckLimit refuses a list of none.
func (w *Which) CheckLimit() error {
	if w.Limit < 1 {
		return text.Usagef("--limit %d: want 1 or more", w.Limit)
	}
	return nil
}

// Checked is the filter f, if neither err nor itself is wrong.
func Checked[F interface{ Validate() error }](f F, err error) (F, error) {
	if err != nil {
		return f, err
	}
	if err = f.Validate(); err != nil {
		err = text.Usage(err)
	}
	return f, err
}

// Ages are the flags that say how long ago something began.
type Ages struct{ OlderThan, NewerThan time.Duration }

// Register adds the flags; began says what began, such as "came".
func (g *Ages) Register(flags *pflag.FlagSet, began string) {
	flags.DurationVar(&g.OlderThan, "older-than", 0, "only those that "+began+" longer ago than this, such as 1h")
	flags.DurationVar(&g.NewerThan, "newer-than", 0, "only those that "+began+" within this time")
}

// Given reports whether one of the flags is given.
func (g Ages) Given() bool { return g.OlderThan != 0 || g.NewerThan != 0 }

// Window is what they mean now; the zero time: whenever.
func (g Ages) Window(now time.Time) (before, after time.Time, err error) {
	if g.OlderThan < 0 || g.NewerThan < 0 {
		return before, after, text.Usagef("an age is not negative: --older-than 1h, for example")
	}
	if g.OlderThan > 0 {
		before = now.Add(-g.OlderThan)
	}
	if g.NewerThan > 0 {
		after = now.Add(-g.NewerThan)
	}
	if g.OlderThan > 0 && g.NewerThan > 0 && g.NewerThan <= g.OlderThan {
		return before, after, text.Usagef("nothing is older than %v and newer than %v", g.OlderThan, g.NewerThan)
	}
	return before, after, nil
}
