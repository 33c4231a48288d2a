package seal

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// HashingKeys is the Box that also hashes business keys: see Key.
func (b *Box) HashingKeys(on bool) *Box { return &Box{keyring: b.keyring, mode: b.mode, hashes: on} }

// HashesKeys reports whether business keys are hashed.
func (b *Box) HashesKeys() bool { return b != nil && b.hashes }

// Key is the business key that stands for what the application or an operator calls key: where the
// Box hashes keys, the hash that [holdfast.HashKey] makes; key itself where it is such a hash already,
// or made of one for a step's saga, so that one that a handler was given can be passed on, and where it
// is empty. Whether payloads are encrypted does not matter.
//
// The error is a [holdfast.UnavailableError] of the keyring.
func (b *Box) Key(ctx context.Context, key string) (string, error) {
	if !b.HashesKeys() || key == "" || isHashed(key) {
		return key, nil
	}
	hash, err := holdfast.HashKey(ctx, b.keyring, key)
	if err != nil {
		return "", unavailable(err, "nothing was done: try again")
	}
	return hash, nil
}

// Keys is Key for those of messages, into a slice of its own where one changes.
func (b *Box) Keys(ctx context.Context, ms []holdfast.Message) ([]holdfast.Message, error) {
	own := false
	for i := range ms {
		key, err := b.Key(ctx, ms[i].Key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", describe(ms[i].ID, ms[i].Topic), err)
		}
		if key == ms[i].Key {
			continue
		}
		if !own {
			ms, own = append([]holdfast.Message(nil), ms...), true
		}
		ms[i].Key = key
	}
	return ms, nil
}

// HashKeysSetting is what HOLDFAST_HASH_KEYS says: on, off, or empty.
func HashKeysSetting(value string) (on bool, err error) {
	switch value {
	case "on", "off", "":
		return value == "on", nil
	}
	return false, fmt.Errorf("%w: HOLDFAST_HASH_KEYS is %.50q: want on or off", holdfast.ErrInvalid, value)
}

// isHashed reports whether key has the form of what [holdfast.HashKey] makes, or that of the key of a
// saga that is run for a step of one with such a key: NAME.hashed-HEX.STEP, which may be nested.
func isHashed(key string) bool {
	if isHash(key) {
		return true
	}
	parts := strings.Split(key, ".")
	return len(parts) > 2 && slices.ContainsFunc(parts[1:len(parts)-1], isHash) &&
		holdfast.ValidateName("key", key) == nil
}

// isHash reports whether text has the form of what [holdfast.HashKey] makes, with a digest of at
// least 16 bytes: a keyring of one's own may make longer ones.
func isHash(text string) bool {
	sum, is := strings.CutPrefix(text, "hashed-")
	raw, err := hex.DecodeString(sum)
	return is && err == nil && len(raw) >= leastDigest && sum == strings.ToLower(sum)
}

// leastDigest is how many bytes the digest of a key has at least.
const leastDigest = 16
