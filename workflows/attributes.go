package workflows

import (
	"strings"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Names of the search attributes.
const (
	AttributeState = "HoldfastState"
	AttributeTopic = "HoldfastTopic"
	AttributeKey   = "HoldfastKey"
)

// MemoContent is the field of the memo that holds a digest of what a workflow was
// started with.
const MemoContent = "holdfast-content"

// KeyState is the key by which [AttributeState] is read and set.
var KeyState = temporal.NewSearchAttributeKeyKeyword(AttributeState)

// ShownState is what HoldfastState says now.
func ShownState(ctx workflow.Context) State {
	s, _ := workflow.GetTypedSearchAttributes(ctx).GetKeyword(KeyState)
	return State(s)
}

// SetKeys sets the search attribute that holds the keys.
func SetKeys(keys []string) temporal.SearchAttributeUpdate {
	return temporal.NewSearchAttributeKeyKeywordList(AttributeKey).ValueSet(keys)
}

// FindableID is what the keys of a workflow that transactions share hold of a transaction's ID:
// the last twelve digits of a random UUID, as Send makes them, which take a third of the room; of
// any other ID all of it. Two may have the same: the members' IDs tell.
func FindableID(id string) string {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id || u.Version() != 4 && u.Version() != 7 {
		return id
	}
	return id[len(id)-12:]
}

// JSONLength returns the length of a key as a string in JSON. Keys have no
// control characters.
func JSONLength(key string) int {
	n := len(key) + len(`""`) + 3*(strings.Count(key, "\u2028")+strings.Count(key, "\u2029"))
	for _, c := range []byte(key) {
		switch c {
		case '"', '\\':
			n++
		case '<', '>', '&':
			n += 5
		}
	}
	return n
}
