// Package keyring holds the commands that make and rotate a keyring, and list its keys. None
// of them prints a key.
package keyring

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/keyring"
)

// New returns the command holdfast keyring.
func New(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "keyring",
		Short: "Make and rotate a keyring, with which messages and sagas are encrypted",
		Long: `Make a keyring, a file with the keys by which what messages and sagas carry is
encrypted; give it a new key; list its keys. No key is ever printed: whoever can
read the file can read all messages. FILE is HOLDFAST_KEYRING where it is not
given. See docs/encryption.md.`,
		Example: "  holdfast keyring new holdfast-keyring.json",
		Args:    cobra.NoArgs,
	}
	c.AddCommand(newNew(a), newRotate(a), newList(a))
	return c
}

// path is the file that is meant.
func path(a *frame.App, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	if a.KeyringPath == "" {
		return "", text.Usagef("name the file, or set HOLDFAST_KEYRING")
	}
	return a.KeyringPath, nil
}

// tell prints what became of a key.
func tell(a *frame.App, asJSON bool, k keyring.Key, format string, args ...any) error {
	if asJSON {
		return text.JSON(a.Out, k)
	}
	text.Printf(a.Out, format+"\n", args...)
	return nil
}

func newNew(a *frame.App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "new [FILE]",
		Short: "Make a keyring with one key, in a file that only you can read",
		Long: `Make a keyring with one key, in a file that only you can read. A file that is
there is left as it is.

JSON: id, primary, made.`,
		Example: "  holdfast keyring new holdfast-keyring.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := path(a, args)
			if err != nil {
				return err
			}
			k, err := keyring.New(file)
			if err != nil {
				return err
			}
			return tell(a, asJSON, k, "Made %s, with key %s. Keep a copy where it is safe: without it nothing that is "+
				"encrypted can be read.", file, k.ID)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newRotate(a *frame.App) *cobra.Command {
	var asJSON, stage bool
	c := &cobra.Command{
		Use:   "rotate [FILE]",
		Short: "Have a new key encrypt what is new; those before go on decrypting",
		Long: `Have another key of the keyring encrypt what is new: the one that was staged
before, or a new one. The keys before it go on decrypting. Processes read the
file again by themselves.

A process that does not have the key of a message waits until it has it. So,
with several copies of the file: add a key with --stage, bring the file to all
processes, then rotate without --stage, and bring it to them again.

JSON: id, primary, staged, made.`,
		Example: "  holdfast keyring rotate holdfast-keyring.json --stage",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := path(a, args)
			if err != nil {
				return err
			}
			k, err := keyring.Rotate(file, stage)
			if err != nil {
				return err
			}
			if stage {
				return tell(a, asJSON, k, "Key %s is in %s, and decrypts. Once every process has the file, rotate without "+
					"--stage: then it encrypts.", k.ID, file)
			}
			return tell(a, asJSON, k, "Key %s encrypts what is new. Those before it in %s go on decrypting: keep them.",
				k.ID, file)
		},
	}
	c.Flags().BoolVar(&stage, "stage", false, "add a key that decrypts, and does not encrypt yet")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newList(a *frame.App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [FILE]",
		Short: "List the keys of a keyring, without the keys themselves",
		Long: `List the keys of a keyring, the newest first: their IDs, as they stand beside
what is encrypted, since when each is there, and which one encrypts.

JSON: an array of id, primary, staged, made.`,
		Example: "  holdfast keyring list",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := path(a, args)
			if err != nil {
				return err
			}
			f, err := keyring.Open(file)
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, f.List())
			}
			return table(a.Out, f.List(), a.Now())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func table(w io.Writer, keys []keyring.Key, now time.Time) error {
	t := text.NewTable(w, "KEY", "SINCE", "USE")
	for _, k := range keys {
		use, since := "decrypts", "-"
		switch {
		case k.Primary:
			use = "encrypts and decrypts"
		case k.Staged:
			use = "decrypts, staged"
		}
		if !k.Made.IsZero() {
			since = k.Made.In(now.Location()).Format(text.DateTime)
		}
		t.Row(k.ID, since, use)
	}
	return t.Flush()
}
