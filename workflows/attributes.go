package workflows

import (
	"strings"

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
