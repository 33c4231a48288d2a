package tx

import (
	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// txFlags are the flags that say which transactions are meant.
type txFlags struct {
	frame.Which
	group, topic, key, errorText string
}

func (x *txFlags) register(flags *pflag.FlagSet, limit int, limitHelp, stateHelp string) {
	flags.StringVar(&x.group, "group", "", "only this producer group's")
	flags.StringVar(&x.topic, "topic", "", "only those whose first message has this topic; any message's, where a "+
		"workflow is shared")
	flags.StringVar(&x.key, "key", "", "only those with this business key")
	flags.StringVar(&x.errorText, "error", "", "only those whose reason has this text")
	x.Which.Register(flags, "began", limit, limitHelp, stateHelp)
}

// narrows reports whether anything of this noun but the group is given.
func (x *txFlags) narrows() bool {
	return x.topic != "" || x.key != "" || x.errorText != ""
}

// filter is what the flags mean now.
func (x *txFlags) filter(a *frame.App) (transactions.Filter, error) {
	key, err := a.Key(x.key)
	if err != nil {
		return transactions.Filter{}, err
	}
	f := transactions.Filter{Prefix: a.Prefix, Group: x.group, Topic: x.topic, Key: key, ErrorText: x.errorText,
		States: x.States}
	f.Before, f.Since, err = x.Window(a.Now())
	return frame.Checked(f, err)
}
