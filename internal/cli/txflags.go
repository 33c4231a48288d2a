package cli

import (
	"github.com/spf13/pflag"
)

// txFlags are the flags that say which transactions are meant.
type txFlags struct {
	ages
	group, topic, key, errorText string
	states                       []string
	limit                        int
}

func (x *txFlags) register(flags *pflag.FlagSet, limit int, limitHelp, stateHelp string) {
	flags.StringVar(&x.group, "group", "", "only this producer group's")
	flags.StringVar(&x.topic, "topic", "", "only those whose first message has this topic; any message's, where a workflow is shared")
	flags.StringVar(&x.key, "key", "", "only those with this business key")
	flags.StringVar(&x.errorText, "error", "", "only those whose reason has this text")
	flags.StringSliceVar(&x.states, "state", nil, stateHelp)
	x.ages.register(flags, "began")
	flags.IntVar(&x.limit, "limit", limit, limitHelp)
}

// narrows reports whether anything but the group is given.
func (x *txFlags) narrows() bool {
	return x.topic != "" || x.key != "" || x.errorText != "" || len(x.states) > 0 || x.given()
}

// filter is what the flags mean now.
func (x *txFlags) filter(a *app) (filter, error) {
	f := filter{prefix: a.Prefix, group: x.group, topic: x.topic, key: x.key, errorText: x.errorText, states: x.states}
	var err error
	if f.before, f.since, err = x.window(a.Now()); err != nil {
		return f, err
	}
	if err := f.validate(); err != nil {
		return f, usageError{err}
	}
	return f, nil
}
