package seal

import (
	"context"
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// guarded is the application's Keyring: what it does wrong is an error of that one call.
type guarded struct{ of holdfast.Keyring }

func (g guarded) Seal(ctx context.Context, plaintext, bound []byte) (key string, ciphertext []byte, err error) {
	defer recovered(&err)
	key, ciphertext, err = g.of.Seal(ctx, plaintext, bound)
	return key, ciphertext, guard.Err(err)
}

func (g guarded) Open(ctx context.Context, key string, ciphertext, bound []byte) (plaintext []byte, err error) {
	defer recovered(&err)
	plaintext, err = g.of.Open(ctx, key, ciphertext, bound)
	return plaintext, guard.Err(err)
}

func (g guarded) Digest(ctx context.Context, data []byte) (digest []byte, err error) {
	defer recovered(&err)
	digest, err = g.of.Digest(ctx, data)
	return digest, guard.Err(err)
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the keyring: %w", guard.Panicked(v))
	}
}
