package console

import (
	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/console"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func newHash(a *frame.App) *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:   "hash NAME",
		Short: "Make a line for the console's file of users",
		Long: `Make a line for the console's file of users: the name, the role and the
password, hashed with bcrypt. The password is the first line of the standard
input; at a terminal it is asked for, and not shown. It has 8 to 72 bytes.`,
		Example: "  holdfast console hash ann --role operator >>users && chmod 600 users",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			password, err := frame.ReadSecret(a, "Password")
			if err != nil {
				return err
			}
			line, err := console.HashLine(args[0], role, password)
			if err != nil {
				return text.Usage(err)
			}
			text.Printf(a.Out, "%s\n", line)
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "viewer", "viewer, operator or admin")
	return c
}
