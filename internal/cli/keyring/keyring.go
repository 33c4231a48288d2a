// Package keyring holds the commands that make and rotate a keyring, and list its keys. None
// of them prints a key.
package keyring

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/keyring"
)

// New returns the command holdfast keyring.
func New(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "keyring",
		Short: "Make and rotate a keyring, which encrypts messages and sagas, or signs records",
		Long: `Make a keyring, a file with the keys by which what messages and sagas carry is
encrypted, or control records are signed; give it a new key; list its keys. No
key is ever printed: whoever can read the file can read all messages, or sign.
FILE is HOLDFAST_KEYRING where it is not given, or HOLDFAST_SIGNING_KEYRING with
--signing. See docs/encryption.md and docs/signing.md.`,
		Example: "  holdfast keyring new holdfast-keyring.json",
		Args:    cobra.NoArgs,
	}
	c.AddCommand(newNew(a), newRotate(a), newList(a), newHash(a))
	return c
}

// path is the file that is meant.
func path(a *frame.App, args []string, signing bool) (string, error) {
	file, variable := a.KeyringPath, "HOLDFAST_KEYRING"
	if signing {
		file, variable = a.SigningKeyringPath, "HOLDFAST_SIGNING_KEYRING"
	}
	if len(args) > 0 {
		return args[0], nil
	}
	if file == "" {
		return "", text.Usagef("name the file, or set %s", variable)
	}
	return file, nil
}

// signingFlag is the flag --signing.
func signingFlag(c *cobra.Command, signing *bool, what string) {
	c.Flags().BoolVar(signing, "signing", false, what)
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
	var asJSON, signing bool
	c := &cobra.Command{
		Use:   "new [FILE]",
		Short: "Make a keyring with one key, in a file that only you can read",
		Long: `Make a keyring with one key, in a file that only you can read. A file that is
there is left as it is. One that signs encrypts nothing, and the other way
round.

JSON: id, primary, made.`,
		Example: "  holdfast keyring new holdfast-keyring.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := path(a, args, signing)
			if err != nil {
				return err
			}
			if signing {
				k, err := keyring.NewSigner(file)
				if err != nil {
					return err
				}
				return tell(a, asJSON, k, "Made %s, with key %s, which signs. Bring it to every process, and then switch "+
					"signing on: see docs/signing.md.", file, k.ID)
			}
			k, err := keyring.New(file)
			if err != nil {
				return err
			}
			return tell(a, asJSON, k, "Made %s, with key %s. Keep a copy where it is safe: without it nothing that is "+
				"encrypted can be read.", file, k.ID)
		},
	}
	signingFlag(c, &signing, "make one that signs control records")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newRotate(a *frame.App) *cobra.Command {
	var asJSON, stage, signing bool
	c := &cobra.Command{
		Use:   "rotate [FILE]",
		Short: "Have a new key encrypt, or sign, what is new; those before stay in use",
		Long: `Have another key of the keyring encrypt what is new, or sign it: the one that
was staged before, or a new one. The keys before it go on decrypting, or
checking. Processes read the file again by themselves.

A process that does not have the key of a message waits until it has it; one
that does not have the key of a signature takes the record for forged. So, with
several copies of the file: add a key with --stage, bring the file to all
processes, then rotate without --stage, and bring it to them again.

JSON: id, primary, staged, made.`,
		Example: "  holdfast keyring rotate holdfast-keyring.json --stage",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := path(a, args, signing)
			if err != nil {
				return err
			}
			k, err := keyring.Rotate(file, stage)
			if err != nil {
				return err
			}
			if stage {
				return tell(a, asJSON, k, "Key %s is in %s, for what is there already. Once every process has the file, "+
					"rotate without --stage: then it is for what is new.", k.ID, file)
			}
			return tell(a, asJSON, k, "Key %s is for what is new. Those before it in %s are for what is there already: "+
				"keep them.", k.ID, file)
		},
	}
	c.Flags().BoolVar(&stage, "stage", false, "add a key that is not for what is new yet")
	signingFlag(c, &signing, "without FILE: HOLDFAST_SIGNING_KEYRING")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newList(a *frame.App) *cobra.Command {
	var asJSON, signing bool
	c := &cobra.Command{
		Use:   "list [FILE]",
		Short: "List the keys of a keyring, without the keys themselves",
		Long: `List the keys of a keyring, the newest first: their IDs, as they stand beside
what is encrypted or signed, since when each is there, and which one is for what
is new.

JSON: an array of id, primary, staged, made.`,
		Example: "  holdfast keyring list",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := path(a, args, signing)
			if err != nil {
				return err
			}
			keys, err := keyring.List(file)
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, keys)
			}
			return table(a.Out, keys, a.Now())
		},
	}
	signingFlag(c, &signing, "without FILE: HOLDFAST_SIGNING_KEYRING")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newHash(a *frame.App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "hash KEY",
		Short: "Print the hash of a business key, to search for it",
		Long: `Print what holdfast.HashKey makes of a business key with the keyring of
HOLDFAST_KEYRING: what stands in RabbitMQ, PostgreSQL and Temporal where the
application hashes its keys. It is the same after a rotation.

JSON: key (the hash).`,
		Example: "  holdfast tx list --key \"$(holdfast keyring hash ann@example.com)\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := path(a, nil, false)
			if err != nil {
				return err
			}
			k, err := keyring.Open(file)
			if err != nil {
				return err
			}
			hash, err := holdfast.HashKey(cmd.Context(), k, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, map[string]string{"key": hash})
			}
			text.Printf(a.Out, "%s\n", hash)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func table(w io.Writer, keys []keyring.Key, now time.Time) error {
	t := text.NewTable(w, "KEY", "SINCE", "USE")
	for _, k := range keys {
		use, since := "what is there", "-"
		switch {
		case k.Primary:
			use = "what is new and what is there"
		case k.Staged:
			use = "what is there, staged"
		}
		if !k.Made.IsZero() {
			since = k.Made.In(now.Location()).Format(text.DateTime)
		}
		t.Row(k.ID, since, use)
	}
	return t.Flush()
}
