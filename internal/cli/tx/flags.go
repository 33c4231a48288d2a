package tx

import (
	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// txFlags are the flags that say which transactions are meant.
type txFlags struct {
	frame.Ages
	group, topic, key, errorText string
	states                       []string
	limit                        int
}

func (x *txFlags) register(flags *pflag.FlagSet, limit int, limitHelp, stateHelp string) {
	flags.StringVar(&x.group, "group", "", "only this producer group's")
	flags.StringVar(&x.topic, "topic", "", "only those whose first message has this topic; any message's, where a "+
		"workflow is shared")
	flags.StringVar(&x.key, "key", "", "only those with this business key")
	flags.StringVar(&x.errorText, "error", "", "only those whose reason has this text")
	flags.StringSliceVar(&x.states, "state", nil, stateHelp)
	x.Ages.Register(flags, "began")
	flags.IntVar(&x.limit, "limit", limit, limitHelp)
}

// narrows reports whether anything but the group is given.
func (x *txFlags) narrows() bool {
	return x.topic != "" || x.key != "" || x.errorText != "" || len(x.states) > 0 || x.Given()
}

// filter is what the flags mean now.
func (x *txFlags) filter(a *frame.App) (transactions.Filter, error) {
	f := transactions.Filter{Prefix: a.Prefix, Group: x.group, Topic: x.topic, Key: x.key, ErrorText: x.errorText,
		States: x.states}
	var err error
	if f.Before, f.Since, err = x.Window(a.Now()); err != nil {
		return f, err
	}
	if err := f.Validate(); err != nil {
		return f, text.Usage(err)
	}
	return f, nil
}
