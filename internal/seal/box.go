// Package seal encrypts what users give Holdfast, where it comes in, and decrypts it where
// it goes out to them: bodies of messages, states of sagas, results and answers. What is in
// between, RabbitMQ, PostgreSQL, Temporal and Holdfast's own code, carries it as it is.
//
// What is sealed says so itself, and names its key: a message by its content type, a value
// of JSON by being a string with a prefix. So it passes through everything that passes
// messages and JSON, also of earlier versions. Each ciphertext is bound to its place: a
// message's to its ID and topic, a saga's to the saga and the field.
package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// Box seals and opens with a keyring. A nil Box, and one without a keyring, seals nothing,
// and opens what is in clear. Its methods may be called from many goroutines.
type Box struct {
	keyring holdfast.Keyring
	mode    holdfast.Encryption
	hashes  bool // business keys, too
}

// New returns a Box; k may be nil.
func New(k holdfast.Keyring, mode holdfast.Encryption) *Box {
	if k != nil {
		k = guarded{k}
	}
	return &Box{keyring: k, mode: mode}
}

// Seals reports whether what is new is sealed.
func (b *Box) Seals() bool {
	return b != nil && b.keyring != nil && b.mode != holdfast.EncryptionReadOnly
}

// requires reports whether what is in clear is refused.
func (b *Box) requires() bool { return b.Seals() && b.mode == holdfast.EncryptionRequired }

// Has reports whether there is a keyring.
func (b *Box) Has() bool { return b != nil && b.keyring != nil }

// maxKey limits the name of a key.
const maxKey = 100

func (b *Box) seal(ctx context.Context, what string, plaintext, bound []byte) (key string, ciphertext []byte,
	err error) {
	key, ciphertext, err = b.keyring.Seal(ctx, plaintext, bound)
	switch {
	case err != nil:
		return "", nil, unavailable(fmt.Errorf("encrypt %s: %w", what, err), "nothing was done: try again")
	case !validKey(key):
		return "", nil, fmt.Errorf("%w: the keyring calls its key %.120q: want 1 to %d printable ASCII characters "+
			"without space, quotes and backslash", holdfast.ErrInvalid, key, maxKey)
	}
	return key, ciphertext, nil
}

func (b *Box) open(ctx context.Context, what, key string, ciphertext, bound []byte) ([]byte, error) {
	if !b.Has() {
		return nil, unavailable(fmt.Errorf("%w: %s, key %s", holdfast.ErrNoKey, what, key),
			"give this process the keyring: HOLDFAST_KEYRING or Options.Keyring")
	}
	plaintext, err := b.keyring.Open(ctx, key, ciphertext, bound)
	switch {
	case err == nil:
		return plaintext, nil
	case errors.Is(err, holdfast.ErrTampered):
		return nil, holdfast.Permanent(fmt.Errorf("%s, key %s: %w: it was changed, or belongs elsewhere", what, key, err))
	case errors.Is(err, holdfast.ErrNoKey):
		return nil, unavailable(fmt.Errorf("%s, key %s: %w", what, key, err),
			"give this process a keyring that has the key: HOLDFAST_KEYRING or Options.Keyring")
	}
	return nil, unavailable(fmt.Errorf("decrypt %s, key %s: %w", what, key, err), "it is tried again")
}

// inClear is the error of what is in clear and has to be encrypted.
func inClear(what string) error {
	return holdfast.Permanent(fmt.Errorf("%w: %s is not encrypted, and this process refuses what is in clear: see "+
		"HOLDFAST_ENCRYPTION (Options.Encryption)", holdfast.ErrInvalid, what))
}

// stateInClear is inClear of what belongs to a saga. It is no reason to turn back: another
// process may take it, or this one once it is told to.
func stateInClear(what string) error {
	return unavailable(fmt.Errorf("%s is not encrypted, and this process refuses what is in clear", what),
		"set HOLDFAST_ENCRYPTION (Options.Encryption) to on until what was begun in clear has ended")
}

// malformed is the error of what says that it is sealed, and cannot be read.
func malformed(what, format string, args ...any) error {
	return holdfast.Permanent(fmt.Errorf("%w: %s says that it is encrypted, but %s", holdfast.ErrMalformed, what,
		fmt.Sprintf(format, args...)))
}

// otherVersion is the error of what a later version of Holdfast encrypted: another process
// may read it.
func otherVersion(what, version string) error {
	return unavailable(fmt.Errorf("%s is encrypted in the form of version %s, and this program reads version 1", what,
		version), "upgrade this process")
}

// isVersion reports whether s is the number of a version.
func isVersion(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

func unavailable(err error, remedy string) error {
	return &holdfast.UnavailableError{Part: holdfast.PartKeyring, Err: err, Remedy: remedy}
}

// Missing reports whether err says that a key is missing or the keyring cannot be used: that
// another process may have it.
func Missing(err error) bool {
	var away *holdfast.UnavailableError
	return errors.As(err, &away) && away.Part == holdfast.PartKeyring
}

func validKey(key string) bool {
	if key == "" || len(key) > maxKey {
		return false
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || strings.IndexByte(`"'\;`, c) >= 0 {
			return false
		}
	}
	return true
}

// boundTo is what a ciphertext is bound to: a kind of place and its names, told apart
// whatever is in them.
func boundTo(kind string, names ...string) []byte {
	out := []byte("holdfast " + kind + " 1\x00")
	for _, name := range names {
		out = binary.AppendUvarint(out, uint64(len(name)))
		out = append(out, name...)
	}
	return out
}
