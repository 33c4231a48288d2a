package frame

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// NoneEmpty refuses a flag or an argument that is given and empty, as "$KEY" is where KEY is not
// set: a filter without a value would mean all, and an action on it more than was thought of.
func NoneEmpty(c *cobra.Command, args []string) (err error) {
	if dash := c.ArgsLenAtDash(); dash >= 0 {
		args = args[:dash] // what follows is another program's
	}
	for _, arg := range args {
		if arg == "" {
			return text.Usagef("an argument is empty: is a variable not set?")
		}
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		list, _ := f.Value.(pflag.SliceValue)
		if f.Value.String() == "" || list != nil && len(list.GetSlice()) == 0 {
			err = text.Usagef("--%s is empty: is a variable not set? Leave the flag out to mean all, or its default", f.Name)
		}
	})
	return err
}
