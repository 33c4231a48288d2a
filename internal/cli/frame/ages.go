package frame

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

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
