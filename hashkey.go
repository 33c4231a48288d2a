package holdfast

import (
	"context"
	"encoding/hex"
	"fmt"
)

// HashKey returns a business key that stands for key and says nothing of it: for
// [Message].Key, and for the Key of a saga, which are never encrypted. It is a keyed hash, of
// [Keyring.Digest]: equal keys give equal hashes, with this keyring, for as long as it
// lives, and nobody without the keyring can find the key by trying. The same key gives the
// same hash for messages and sagas, so that one search finds both.
//
// Take it for a key from its first use on: for Holdfast the hash is another key, so
// a saga that was begun under the clear one is not joined. Handlers and Undos see the
// hash where they see a key; what they need of the clear one belongs into the body or
// the state, which the keyring encrypts. `holdfast keyring hash` prints the hash for a search. Options.HashKeys
// of package worker hashes all keys, and leaves one as it is that HashKey made.
//
// The error wraps [ErrInvalid] where key is empty, or there is no keyring, and is the keyring's
// otherwise.
func HashKey(ctx context.Context, k Keyring, key string) (string, error) {
	switch {
	case key == "":
		return "", fmt.Errorf("%w: the key to hash is empty", ErrInvalid)
	case k == nil:
		return "", fmt.Errorf("%w: no keyring to hash a key with: set HOLDFAST_KEYRING, and open it with keyring.Open",
			ErrInvalid)
	}
	sum, err := k.Digest(ctx, []byte("holdfast key 1\x00"+key))
	if err != nil {
		return "", fmt.Errorf("hash a key: %w", err)
	}
	return "hashed-" + hex.EncodeToString(sum), nil
}
