package console

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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
			password, err := readPassword(a)
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

// readPassword reads the first line of the standard input.
func readPassword(a *frame.App) (string, error) {
	if file, ok := a.In.(*os.File); ok && text.IsTerminal(file) {
		text.Printf(a.Err, "Password: ")
		password, err := term.ReadPassword(int(file.Fd()))
		text.Printf(a.Err, "\n")
		return string(password), err
	}
	line, err := bufio.NewReader(io.LimitReader(a.In, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
