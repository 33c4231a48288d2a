// Package dev holds the commands for a machine of one's own: holdfast dev starts a private
// stack, and runs a command in it; holdfast demo shows what Holdfast does. They stand on
// internal/stack and internal/demo.
package dev

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack"
)

// New returns the command holdfast dev.
func New(a *frame.App) *cobra.Command {
	var dir string
	var temp bool
	var more devDatabases
	c := &cobra.Command{
		Use:   "dev [flags] [-- COMMAND ARGS…]",
		Short: "Run a private RabbitMQ, PostgreSQL and Temporal to develop against",
		Long: `Run a private RabbitMQ, PostgreSQL and Temporal (with its web UI) on loopback
ports of their own, and print where they are, as lines for a shell. They are
stopped with Ctrl-C; their data stays in the data folder, and is there again the
next time. The database "holdfast" is created; run holdfast migrate for tables,
or give --migrate. With --databases, further ones are, for services that have
their own: the URL of "stock" is in DATABASE_URL_STOCK. Those that are there
stay as they are.

With a COMMAND, it is run with AMQP_URL, DATABASE_URL, TEMPORAL_ADDRESS,
TEMPORAL_NAMESPACE, HOLDFAST_TEMPORAL_UI, and DATABASE_URL_… set; when it ends,
all is stopped, and its exit status is this program's.

The data folder is .holdfast/dev below the root of the Go module or repository,
or, outside of one, in the user's cache folder. A part whose address is in the
environment (AMQP_URL, DATABASE_URL, TEMPORAL_ADDRESS) is used as it is. What is
missing is installed, which may take some minutes the first time: most of it is
the Temporal CLI, where HOLDFAST_TEMPORAL_CLI names none, and none of 1.5.0 or
later is on the PATH. It is downloaded from Temporal's releases on GitHub, with
its SHA-256 pinned; where that fails, it is built from source. How far that is,
is shown. HOLDFAST_TEMPORAL_CLI_URL names a mirror; "off" downloads nothing.`,
		Example: "  holdfast dev\n  holdfast dev --databases orders,stock,payment --migrate\n" +
			"  holdfast dev -- go run ./cmd/shop\n  holdfast dev --temp -- go test ./...",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("unexpected argument %q: a command to run comes after --", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := more.check(); err != nil {
				return text.Usage(err)
			}
			o := stack.Options{Dir: dir, Out: a.Err}
			if a.Term != "dumb" && text.IsTerminal(a.Err) {
				o.Screen = text.Raw(a.Err)
			}
			if !temp && dir == "" {
				var err error
				if o.Dir, err = devFolder(); err != nil {
					return err
				}
			}
			return runDev(cmd.Context(), a, o, more, args)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the data folder")
	c.Flags().BoolVar(&temp, "temp", false, "use a temporary data folder, which is removed in the end")
	c.MarkFlagsMutuallyExclusive("dir", "temp")
	c.Flags().StringSliceVar(&more.names, "databases", nil, "further databases to create, such as orders,stock")
	c.Flags().BoolVar(&more.migrate, "migrate", false, "create Holdfast's tables, or bring them to this version, in "+
		"all of the databases")
	return c
}

// runDev runs the stack until ctx is done, or for as long as the command runs.
func runDev(ctx context.Context, a *frame.App, o stack.Options, more devDatabases, command []string) (err error) {
	s, err := stack.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		text.Printf(a.Err, "Stopping.\n")
		if e := s.Close(); e != nil {
			text.PrintError(a.Err, e) // a command's exit status stands
			if err == nil {
				err = frame.StatusError(frame.ExitError)
			}
		}
	}()
	env, err := more.create(ctx, s)
	if err != nil {
		return err
	}
	env = append(s.Env(), env...)
	if len(command) > 0 {
		signals, stop := signalsToForward()
		defer stop()
		return runCommand(a, command, env, signals)
	}
	printStack(a.Out, env, s.Dir())
	<-ctx.Done()
	return nil
}

// printStack says where the parts are, as lines that a shell can evaluate.
func printStack(w io.Writer, env []string, dir string) {
	names := map[string]string{"AMQP_URL": "RabbitMQ", "DATABASE_URL": "PostgreSQL", "TEMPORAL_ADDRESS": "Temporal",
		"HOLDFAST_TEMPORAL_UI": "Temporal's web UI"}
	text.Printf(w, "\n")
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		what := names[name]
		if database, further := strings.CutPrefix(name, furtherDatabase); further {
			what = "database " + strings.ToLower(database)
		}
		if what != "" && value != "" {
			text.Printf(w, "# %-18s %s\n", what, value)
		}
	}
	if dir != "" {
		text.Printf(w, "# %-18s %s\n", "data", dir)
	}
	text.Printf(w, "\n")
	for _, entry := range env {
		if name, value, _ := strings.Cut(entry, "="); value != "" {
			text.Printf(w, "export %s=%s\n", name, shellQuote(value))
		}
	}
	text.Printf(w, "\n# Ctrl-C stops it; the lines above are for another shell.\n")
}

// shellQuote makes s one word for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// devFolder is the default data folder.
func devFolder() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the data folder: %w", err)
	}
	if root := projectRoot(wd); root != "" {
		own := filepath.Join(root, ".holdfast")
		return filepath.Join(own, "dev"), ignored(own)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", text.WithRemedy(fmt.Errorf("find the data folder: %w", err), "name one with --dir")
	}
	return filepath.Join(cache, "holdfast", "dev"), nil
}

// projectRoot is the nearest folder, from dir upwards, that holds a Go module
// or a repository; empty if there is none.
func projectRoot(dir string) string {
	for {
		for _, mark := range []string{"go.mod", ".git"} {
			if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
				return dir
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// ignored makes sure that dir exists, and that git never sees what is in it.
func ignored(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return text.WithRemedy(fmt.Errorf("make the data folder: %w", err), "name another one with --dir, or use --temp")
	}
	path := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.WriteFile(path, []byte("*\n"), 0o644); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return nil
}
