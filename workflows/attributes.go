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

// keyState is the key by which [AttributeState] is read and set.
var keyState = temporal.NewSearchAttributeKeyKeyword(AttributeState)

// shownState is what HoldfastState says now.
func shownState(ctx workflow.Context) State {
	s, _ := workflow.GetTypedSearchAttributes(ctx).GetKeyword(keyState)
	return State(s)
}

// setKeys sets the search attribute that holds the keys.
func setKeys(keys []string) temporal.SearchAttributeUpdate {
	return temporal.NewSearchAttributeKeyKeywordList(AttributeKey).ValueSet(keys)
}

// jsonLength returns the length of a key as a string in JSON. Keys have no
// control characters.
func jsonLength(key string) int {
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
