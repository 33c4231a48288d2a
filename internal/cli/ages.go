package cli

import (
	"time"

	"github.com/spf13/pflag"
)

// ages are the flags that say how long ago something began.
type ages struct{ olderThan, newerThan time.Duration }

func (g *ages) register(flags *pflag.FlagSet, began string) {
	flags.DurationVar(&g.olderThan, "older-than", 0, "only those that "+began+" longer ago than this, such as 1h")
	flags.DurationVar(&g.newerThan, "newer-than", 0, "only those that "+began+" within this time")
}

func (g ages) given() bool { return g.olderThan != 0 || g.newerThan != 0 }

// window is what they mean now; the zero time: whenever.
func (g ages) window(now time.Time) (before, after time.Time, err error) {
	if g.olderThan < 0 || g.newerThan < 0 {
		return before, after, usagef("an age is not negative: --older-than 1h, for example")
	}
	if g.olderThan > 0 {
		before = now.Add(-g.olderThan)
	}
	if g.newerThan > 0 {
		after = now.Add(-g.newerThan)
	}
	if g.olderThan > 0 && g.newerThan > 0 && g.newerThan <= g.olderThan {
		return before, after, usagef("nothing is older than %v and newer than %v", g.olderThan, g.newerThan)
	}
	return before, after, nil
}
